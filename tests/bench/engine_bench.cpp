// How fast graphs are built and run, and how much memory that takes. Prints figures; judges nothing.
#include <fmt/format.h>
#include <sys/resource.h>

#include <ctime>
#include <functional>

#include "tests/support/graphs.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

/// Processor time: the program has one thread, and others may use the machine.
double seconds_of(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void report(std::string_view name, const TaskGraph& graph, double build_s, std::string_view engine) {
  Timeline timeline;
  const double run_s = seconds_of([&] { timeline = testing::run(engine, graph); });
  const double tasks = static_cast<double>(graph.size());
  fmt::print(
      "{:34} {:>6} {:9} tasks {:9} events  build {:6.3f} s ({:4.0f} ns/task)  run {:6.3f} s {:6.2f} M "
      "tasks/s "
      "{:6.2f} M events/s  peak {:5.0f} MB  {}\n",
      name, engine, graph.size(), timeline.events, build_s, build_s * 1e9 / tasks, run_s,
      tasks / run_s * 1e-6, static_cast<double>(timeline.events) / run_s * 1e-6, peak_megabytes(),
      fingerprint(timeline));
}

/// Streams of compute in order, each task of an own duration, each also waiting for the neighbour's last but
/// one: no contention at all.
TaskGraph streams(std::uint32_t actors, std::uint32_t length) {
  RandomStream random = Random(1).stream("bench");
  GraphBuilder builder(actors);
  builder.reserve(std::size_t{actors} * length, std::size_t{actors} * length * 2);
  for (std::uint32_t i = 0; i < length; ++i) {
    for (ActorId actor = 0; actor < actors; ++actor) {
      const TaskId task =
          builder.add_compute(actor, Time{static_cast<std::int64_t>(1000 + random.below(1000))}, 1, {});
      if (i > 0) builder.add_edge(task - actors, task);
      if (i > 1 && actor > 0) builder.add_edge(task - 2 * actors - 1, task);
    }
  }
  return std::move(builder).finish({});
}

/// What a stage's exchanges are made of.
struct Shape {
  std::uint32_t stages = 16;
  std::uint32_t ranks = 1;  // a stage's, each with a link out and a link in
  std::uint32_t microbatches = 120;
  std::uint32_t layers = 4;
  std::uint32_t distinct = 1;  // different all-to-alls a stage
  bool is_uneven = false;      // each rank with its own bytes: nothing to merge
};

class Pipeline {
 public:
  explicit Pipeline(const Shape& shape)
      : shape_(shape), random_(Random(1).stream("pipeline")), builder_(shape.stages * shape.ranks) {}

  TaskGraph graph() {
    for (std::uint32_t stage = 0; stage < shape_.stages; ++stage) add_patterns(stage);
    std::vector<TaskId> computes(shape_.stages, nothing), exchanges(shape_.stages, nothing);
    for (std::uint32_t microbatch = 0; microbatch < shape_.microbatches; ++microbatch) {
      TaskId arrived = nothing;
      for (std::uint32_t stage = 0; stage < shape_.stages; ++stage) {
        arrived = add_pass(stage, microbatch, arrived, computes[stage], exchanges[stage]);
      }
    }
    return std::move(builder_).finish(std::vector<Rate>(2 * shape_.stages * shape_.ranks, 50_GBps));
  }

 private:
  std::uint32_t out(std::uint32_t stage, std::uint32_t rank) const {
    return 2 * (stage * shape_.ranks + rank);
  }

  void add_patterns(std::uint32_t stage) {
    std::vector<ActorId> members;
    for (std::uint32_t rank = 0; rank < shape_.ranks; ++rank) members.push_back(stage * shape_.ranks + rank);
    for (std::uint32_t i = 0; i < shape_.distinct; ++i) {
      std::vector<LinkLoad> loads;
      for (std::uint32_t link = 0; link < 2 * shape_.ranks; ++link) {
        loads.push_back({out(stage, 0) + link,
                         shape_.is_uneven ? 1e6 + static_cast<double>(random_.below(1'000'000)) : 2e6});
      }
      all_to_all_.push_back(builder_.add_pattern({.latency = 10_us, .flow_bytes = 31'000}, loads, members));
    }
    std::vector<LinkLoad> loads;
    for (std::uint32_t rank = 0; rank < shape_.ranks; ++rank) {
      loads.push_back({out(stage, rank), 1e6});
      loads.push_back({out((stage + 1) % shape_.stages, rank) + 1, 1e6});
    }
    send_.push_back(builder_.add_pattern({.latency = 5_us, .flow_bytes = 1e6}, loads, {}));
  }

  PatternId exchange(std::uint32_t stage) {
    return all_to_all_[stage * shape_.distinct + static_cast<std::uint32_t>(random_.below(shape_.distinct))];
  }

  /// Layers of compute, dispatch and combine, then a send that runs beside the next microbatch's exchanges.
  TaskId add_pass(std::uint32_t stage, std::uint32_t microbatch, TaskId arrived, TaskId& compute,
                  TaskId& last) {
    const Tag tag{.microbatch = static_cast<std::int32_t>(microbatch),
                  .pipeline_rank = static_cast<std::int16_t>(stage)};
    TaskId before = arrived;
    for (std::uint32_t layer = 0; layer < shape_.layers; ++layer) {
      for (int half = 0; half < 2; ++half) {
        const TaskId exchanged = builder_.add_coflow(exchange(stage), tag);
        for (std::uint32_t rank = 0; rank < shape_.ranks; ++rank) {
          const Time duration{static_cast<std::int64_t>(20'000'000 + random_.below(40'000'000))};
          const TaskId task = builder_.add_compute(stage * shape_.ranks + rank, duration, 1, tag);
          builder_.add_edge(before, task);
          builder_.add_edge(compute == nothing ? nothing : compute + rank, task);
          builder_.add_edge(task, exchanged);
        }
        compute = exchanged + 1;
        before = last = exchanged;
      }
    }
    const TaskId sent = builder_.add_coflow(send_[stage], tag);
    builder_.add_edge(last, sent);
    return sent;
  }

  Shape shape_;
  RandomStream random_;
  GraphBuilder builder_;
  std::vector<PatternId> all_to_all_, send_;
};

/// Chains of coflows over a handful of links, many at a time: nearly every event solves a shared part.
TaskGraph crowd(std::uint32_t islands, std::uint32_t chains, std::uint32_t length) {
  RandomStream random = Random(1).stream("crowd");
  GraphBuilder builder(1);
  for (std::uint32_t island = 0; island < islands; ++island) {
    for (std::uint32_t i = 0; i < 16; ++i) {
      std::vector<LinkLoad> loads;
      const double bytes = 1e5 * static_cast<double>(1 + random.below(20));
      for (std::uint32_t link = 0; link < 4; ++link) {
        if (link == i % 4 || random.below(2) == 0)
          loads.push_back({4 * island + link, bytes * (1 + random.uniform())});
      }
      builder.add_pattern({.latency = 3_us, .flow_bytes = bytes / static_cast<double>(1 + random.below(8))},
                          loads, {});
    }
  }
  std::vector<TaskId> last(std::size_t{islands} * chains, nothing);
  for (std::uint32_t i = 0; i < length; ++i) {
    for (std::uint32_t chain = 0; chain < last.size(); ++chain) {
      const PatternId pattern = chain / chains * 16 + static_cast<PatternId>(random.below(16));
      const TaskId task = builder.add_coflow(pattern, {});
      builder.add_edge(last[chain], task);
      last[chain] = task;
    }
  }
  return std::move(builder).finish(std::vector<Rate>(4 * islands, 50_GBps));
}

template <class Make>
void measure_case(std::string_view name, Make make) {
  TaskGraph graph;
  const double build_s = seconds_of([&] { graph = make(); });
  report(name, graph, build_s, "ideal");
  report(name, graph, build_s, "fluid");
}

}  // namespace

int main(int argc, char** argv) {
  // Only the cases whose name begins with the argument.
  const std::string_view wanted = argc > 1 ? argv[1] : "";
  const auto measure = [&](std::string_view name, auto make) {
    if (name.starts_with(wanted)) measure_case(name, make);
  };
  measure("streams: 16", [] { return streams(16, 125'000); });
  measure("streams: 2,048", [] { return streams(2'048, 1'000); });
  measure("crowd: 16 x 2 coflows", [] { return crowd(16, 2, 20'000); });
  measure("crowd: 16 x 4 coflows", [] { return crowd(16, 4, 10'000); });
  measure("crowd: 1 x 16 coflows", [] { return crowd(1, 16, 20'000); });
  measure("pipeline, folded", [] { return Pipeline({.microbatches = 5'000}).graph(); });
  measure("pipeline, 64 ranks", [] { return Pipeline({.ranks = 64, .microbatches = 240}).graph(); });
  measure("pipeline, 2,048 uneven ranks",
          [] { return Pipeline({.stages = 32, .ranks = 64, .distinct = 320, .is_uneven = true}).graph(); });
  measure("streams: 2,048, 8 million tasks", [] { return streams(2'048, 4'000); });
}
