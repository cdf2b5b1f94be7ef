#include "tests/support/graphs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "models/base/error.hpp"

namespace moesim::testing {

TaskGraph build(const Sketch& sketch) {
  GraphBuilder builder(sketch.actors);
  std::vector<PatternId> patterns;
  for (const TrafficSketch& traffic : sketch.patterns) {
    patterns.push_back(builder.add_pattern(traffic.pattern, traffic.loads, traffic.members));
    for (const PartSketch& part : traffic.parts)
      builder.add_part(patterns.back(), part.flow_bytes, part.loads);
  }
  for (const TaskSketch& task : sketch.tasks) {
    switch (task.kind) {
      case TaskKind::compute:
        builder.add_compute(task.actor, task.duration, task.slowdown, {});
        break;
      case TaskKind::coflow:
        builder.add_coflow(patterns[task.pattern], {});
        break;
      case TaskKind::barrier:
        builder.add_barrier();
        break;
    }
  }
  for (TaskId task = 0; task < sketch.tasks.size(); ++task) {
    for (const TaskId before : sketch.tasks[task].after) builder.add_edge(before, task);
  }
  return std::move(builder).finish(sketch.links);
}

namespace {

Time random_time(RandomStream& random, std::uint64_t bound) {
  return {static_cast<std::int64_t>(random.below(bound))};
}

TrafficSketch random_traffic(RandomStream& random, const Sketch& sketch) {
  TrafficSketch traffic;
  Pattern& pattern = traffic.pattern;
  if (random.below(3) > 0) pattern.latency = random_time(random, 20'000);
  if (random.below(4) == 0) pattern.at_least = random_time(random, 400'000);
  pattern.flow_bytes = 1000.0 * static_cast<double>(1 + random.below(50));
  pattern.holds_multiprocessors = random.below(2) == 0;
  if (random.below(3) == 0) pattern.slowdown = 1 + random.uniform();
  const std::uint64_t links = random.below(6);  // none, too
  const bool is_even = random.below(2) == 0;
  for (std::uint64_t i = 0; i < links; ++i) {
    const double flows = is_even ? 2 : static_cast<double>(1 + random.below(7));
    traffic.loads.push_back(
        {static_cast<std::uint32_t>(random.below(sketch.links.size())), flows * pattern.flow_bytes});
  }
  for (std::uint64_t i = random.below(4); i > 0; --i) {
    const ActorId actor = static_cast<ActorId>(random.below(sketch.actors));
    if (std::ranges::find(traffic.members, actor) == traffic.members.end()) traffic.members.push_back(actor);
  }
  return traffic;
}

TaskSketch random_task(RandomStream& random, const Sketch& sketch) {
  TaskSketch task;
  const std::uint64_t kind = random.below(8);
  if (kind < 4) {
    task.kind = TaskKind::compute;
    task.actor = static_cast<ActorId>(random.below(sketch.actors));
    if (random.below(8) > 0) task.duration = random_time(random, 300'000);
    if (random.below(2) == 0) task.slowdown = 1 + static_cast<double>(static_cast<float>(random.uniform()));
  } else if (kind < 7) {
    task.kind = TaskKind::coflow;
    task.pattern = static_cast<PatternId>(random.below(sketch.patterns.size()));
  }
  return task;
}

}  // namespace

Sketch random_sketch(RandomStream& random, std::uint32_t tasks) {
  Sketch sketch{
      .actors = static_cast<std::uint32_t>(1 + random.below(5)), .links = {}, .patterns = {}, .tasks = {}};
  for (std::uint64_t i = 2 + random.below(8); i > 0; --i) {
    sketch.links.push_back({1e11 * static_cast<double>(1 + random.below(5))});
  }
  for (std::uint64_t i = 1 + random.below(8); i > 0; --i)
    sketch.patterns.push_back(random_traffic(random, sketch));
  for (TaskId task = 0; task < tasks; ++task) {
    TaskSketch next = random_task(random, sketch);
    const std::uint64_t near = std::min<std::uint64_t>(task, 12);
    for (std::uint64_t i = near > 0 ? random.below(3) : 0; i > 0; --i) {
      next.after.push_back(task - 1 - static_cast<TaskId>(random.below(near)));
    }
    sketch.tasks.push_back(std::move(next));
  }
  return sketch;
}

Sketch in_flows(Sketch sketch, RandomStream& random) {
  for (TrafficSketch& traffic : sketch.patterns) {
    if (traffic.loads.empty()) continue;
    traffic.loads.clear();
    double sum = 0;
    for (std::uint64_t i = 1 + random.below(6); i > 0; --i) {
      PartSketch& part = traffic.parts.emplace_back();
      part.flow_bytes = 500.0 * static_cast<double>(1 + random.below(60));
      sum += part.flow_bytes;
      const auto from = static_cast<std::uint32_t>(random.below(sketch.links.size()));
      const auto to = static_cast<std::uint32_t>(random.below(sketch.links.size()));
      part.loads.push_back({from, part.flow_bytes});
      if (to != from) part.loads.push_back({to, part.flow_bytes});
      traffic.loads.insert(traffic.loads.end(), part.loads.begin(), part.loads.end());
    }
    traffic.pattern.flow_bytes = sum / static_cast<double>(traffic.parts.size());
  }
  return sketch;
}

namespace {

std::unique_ptr<const Engine> make_engine(std::string_view engine) {
  Value value;
  value.kind = Value::Kind::object;
  Value kind;
  kind.kind = Value::Kind::text;
  kind.text = engine;
  value.set("kind", std::move(kind));
  Reader reader(value, "engine");
  return make_member(reader, engines(), "engine");
}

}  // namespace

Timeline run(std::string_view engine, const TaskGraph& graph) { return make_engine(engine)->run(graph); }

bool has_engine(std::string_view engine) {
  try {
    make_engine(engine);
    return true;
  } catch (const MissingError& error) {
    fmt::print(stderr, "skipped: {}\n", error.what());
    return false;
  }
}

}  // namespace moesim::testing
