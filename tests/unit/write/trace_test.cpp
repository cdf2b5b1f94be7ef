#include "sim/write/trace.hpp"
#include "sim/read/scenario.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "sim/lower/lower.hpp"
#include "sim/report/occupancy.hpp"
#include "sim/run/simulate.hpp"
#include "tests/support/graphs.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

using Json = nlohmann::json;

std::int64_t picoseconds(const Json& microseconds) { return std::llround(microseconds.get<double>() * 1e6); }

/// A complete event, read back.
struct Event {
  std::int64_t start, end;
  std::int64_t actor, thread;
  std::string category;
  Json arguments;
};

std::vector<Event> events_of(const std::string& trace) {
  std::vector<Event> events;
  const Json document = Json::parse(trace);
  for (const Json& event : document.at("traceEvents")) {
    if (event.at("ph") != "X") continue;
    const std::int64_t start = picoseconds(event.at("ts"));
    events.push_back({.start = start,
                      .end = start + picoseconds(event.at("dur")),
                      .actor = event.at("pid").get<std::int64_t>() - 1,
                      .thread = event.at("tid"),
                      .category = event.at("cat"),
                      .arguments = event.at("args")});
  }
  return events;
}

void require_lanes_without_overlap(std::vector<Event> events) {
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) {
    return std::tuple(a.actor, a.thread, a.start, a.end) < std::tuple(b.actor, b.thread, b.start, b.end);
  });
  for (std::size_t i = 1; i < events.size(); ++i) {
    const Event &before = events[i - 1], &after = events[i];
    if (before.actor != after.actor || before.thread != after.thread) continue;
    REQUIRE(before.end <= after.start);
  }
}

/// Picoseconds in which at least one event of an actor and category runs.
std::int64_t busy(const std::vector<Event>& events, std::int64_t actor, std::string_view category) {
  std::vector<std::pair<std::int64_t, std::int64_t>> spans;
  for (const Event& event : events) {
    if (event.actor == actor && event.category == category) spans.emplace_back(event.start, event.end);
  }
  std::sort(spans.begin(), spans.end());
  std::int64_t sum = 0, until = 0;
  for (const auto& [start, end] : spans) {
    sum += std::max<std::int64_t>(0, end - std::max(start, until));
    until = std::max(until, end);
  }
  return sum;
}

std::string trace_of(const TaskGraph& graph, const Timeline& timeline) {
  return write_trace("", {std::vector<std::string>(graph.actor_count, "actor")}, graph, timeline);
}

void require_same_busy_times(const Scenario& scenario) {
  const Simulation run = simulate(scenario);
  const std::vector<Event> events =
      events_of(write_trace("", {actor_names(scenario, run.graph)}, run.graph, run.timeline));
  require_lanes_without_overlap(events);
  const std::vector<Occupancy> expected = occupancy(run.graph, run.timeline);
  std::int64_t last = 0;
  for (const Event& event : events) last = std::max(last, event.end);
  CHECK(last == run.report.step_time.count);
  for (std::size_t actor = 0; actor < expected.size(); ++actor) {
    const auto number = static_cast<std::int64_t>(actor);
    std::int64_t compute = 0;
    for (std::size_t activity = 0; activity < activity_count; ++activity) {
      const std::int64_t time = busy(events, number, activities[activity].name);
      if (is_communication(static_cast<Activity>(activity))) {
        CHECK(time == expected[actor].busy[activity].count);
      } else if (static_cast<Activity>(activity) == Activity::optimizer) {
        CHECK(time == expected[actor].optimizer.count);
      } else {
        compute += time;
      }
    }
    CHECK(compute == expected[actor].compute.count);
  }
}

Scenario scenario_of(const std::string& file, const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario("scenarios/" + file + ".json", overrides);
}

/// A part of a counter, read back.
struct Read {
  double most = 0, last = 0, at = 0, area = 0;
};

/// By counter and part, one for each process in their order.
std::map<std::pair<std::string, std::string>, std::vector<Read>> read_counters(const std::string& trace) {
  std::map<std::tuple<std::string, std::string, std::int64_t>, Read> parts;
  const Json document = Json::parse(trace);
  for (const Json& event : document.at("traceEvents")) {
    if (event.at("ph") != "C") continue;
    const double at = event.at("ts");
    for (const auto& [name, value] : event.at("args").items()) {
      Read& read = parts[{event.at("name"), name, event.at("pid")}];
      REQUIRE((at > read.at || at == 0));
      read.area += read.last * (at - read.at);
      read.at = at;
      read.last = value;
      read.most = std::max(read.most, read.last);
    }
  }
  std::map<std::pair<std::string, std::string>, std::vector<Read>> counters;
  for (const auto& [key, read] : parts) counters[{std::get<0>(key), std::get<1>(key)}].push_back(read);
  return counters;
}

void require_counters_of_report(const Scenario& scenario) {
  const Simulation run = simulate(scenario);
  const Report& report = run.report;
  const auto counters =
      read_counters(write_trace("", tracks_of(run.work, run.graph, run.timeline), run.graph, run.timeline));
  const std::vector<Read>& in_flight = counters.at({"microbatches in flight", "microbatches"});
  REQUIRE(in_flight.size() == report.pipeline_ranks.size());
  for (std::size_t rank = 0; rank < in_flight.size(); ++rank) {
    CHECK(in_flight[rank].most ==
          static_cast<double>(report.pipeline_ranks[rank].peak_microbatches_in_flight));
    CHECK(in_flight[rank].last == 0);
  }
  for (std::size_t rank = 0; rank < report.memory.size(); ++rank) {
    const MemoryReport& memory = report.memory[rank];
    for (const auto& [part, bytes] : std::map<std::string, Bytes>{{"parameters", memory.parameters},
                                                                  {"gradients", memory.gradients},
                                                                  {"optimizer", memory.optimizer},
                                                                  {"buffers", memory.buffers},
                                                                  {"activations", memory.activations}}) {
      const Read& read = counters.at({"memory", part}).at(rank);
      CHECK(read.most == static_cast<double>(bytes.count));
      CHECK(read.last == (part == "activations" ? 0 : read.most));
    }
  }
  for (const LinkClassReport& links : report.link_classes) {
    const auto index = static_cast<std::size_t>(links.link_class);
    const Read& use = counters.at({std::string(link_class_names[index]), "percent of capacity"}).at(0);
    CHECK(use.area / (to_seconds(report.step_time) * 1e6) ==
          Approx(100 * links.mean_utilization).epsilon(1e-3));
    CHECK(use.last == 0);
  }
}

}  // namespace

TEST_CASE("A trace says in microseconds what ran, exact to the picosecond") {
  GraphBuilder builder(1);
  const Tag tag{.microbatch = 7,
                .layer = 2,
                .pipeline_rank = 3,
                .chunk = 1,
                .activity = Activity::attention,
                .pass = PassKind::forward,
                .overlapped = false};
  const TaskId first = builder.add_compute(0, 1'234'567_ps, 1, tag);
  Pattern pattern{.latency = 1_us, .messages = 1, .bytes_sent = 4096, .bytes_received = 4096};
  const std::array<ActorId, 1> member{0};
  const TaskId second = builder.add_coflow(builder.add_pattern(pattern, {}, member),
                                           {.pipeline_rank = 3, .activity = Activity::gradient});
  builder.add_edge(first, second);
  builder.add_edge(second, builder.add_barrier());
  const TaskGraph graph = std::move(builder).finish({});
  CHECK(write_trace("Rank \"3\"", {{"rank 3"}}, graph, testing::run("fluid", graph)) ==
        R"({"displayTimeUnit":"ns","traceEvents":[
{"ph":"M","pid":1,"tid":0,"name":"process_name","args":{"name":"rank 3"}},
{"ph":"M","pid":1,"tid":0,"name":"process_sort_index","args":{"sort_index":0}},
{"ph":"M","pid":1,"tid":1000000,"name":"thread_name","args":{"name":"compute"}},
{"ph":"M","pid":1,"tid":1000000,"name":"thread_sort_index","args":{"sort_index":1000000}},
{"ph":"X","pid":1,"tid":1000000,"ts":0.000000,"dur":1.234567,"cat":"attention","name":"F7 attention","args":{"stage":3,"microbatch":7,"chunk":1,"layer":2,"pass":"forward"}},
{"ph":"M","pid":1,"tid":4000000,"name":"thread_name","args":{"name":"gradients"}},
{"ph":"M","pid":1,"tid":4000000,"name":"thread_sort_index","args":{"sort_index":4000000}},
{"ph":"X","pid":1,"tid":4000000,"ts":1.234567,"dur":1.000000,"cat":"gradient","name":"gradient","args":{"stage":3,"bytes":4096}}
],"otherData":{"title":"Rank \"3\""}}
)");
}

TEST_CASE("A trace holds every task once for each actor that takes part, and no lane has two at a time") {
  const Random random(11);
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    RandomStream stream = random.stream("trace", seed);
    const TaskGraph graph = testing::build(testing::random_sketch(stream, 120));
    const Timeline timeline = testing::run("fluid", graph);
    std::multiset<std::tuple<std::int64_t, std::int64_t, std::int64_t>> expected, found;
    for (TaskId task = 0; task < graph.size(); ++task) {
      const auto add = [&](ActorId actor) {
        expected.emplace(actor, timeline.starts[task].count, timeline.ends[task].count);
      };
      if (graph.kinds[task] == TaskKind::compute) add(graph.actors[task]);
      if (graph.kinds[task] != TaskKind::coflow) continue;
      for (const ActorId actor : graph.members_of(graph.pattern_table[graph.patterns[task]])) add(actor);
    }
    const std::vector<Event> events = events_of(trace_of(graph, timeline));
    for (const Event& event : events) found.emplace(event.actor, event.start, event.end);
    CHECK(found == expected);
    require_lanes_without_overlap(events);
  }
}

TEST_CASE("Communications that overlap on an actor get lanes of their own") {
  GraphBuilder builder(1);
  const std::array<ActorId, 1> member{0};
  const PatternId pattern = builder.add_pattern({.latency = 1_us}, {}, member);
  for (int i = 0; i < 3; ++i) builder.add_coflow(pattern, {.activity = Activity::dispatch});
  const TaskGraph graph = std::move(builder).finish({});
  const Json trace = Json::parse(trace_of(graph, testing::run("ideal", graph)));
  std::vector<std::string> lanes;
  for (const Json& event : trace.at("traceEvents")) {
    if (event.at("name") == "thread_name") lanes.push_back(event.at("args").at("name"));
  }
  CHECK(lanes == std::vector<std::string>{"exchange", "exchange 2", "exchange 3"});
}

TEST_CASE("The trace of a scenario gives its busy times and its step time back") {
  require_same_busy_times(load_scenario("scenarios/mixtral-8x7b-h100.json"));
  require_same_busy_times(load_scenario("scenarios/two-gpus.json", {parse_override("resolution=full")}));
  require_same_busy_times(load_scenario("scenarios/dualpipe-8x20.json"));
}

TEST_CASE("A trace's counters come to the report's memory, microbatches in flight and use of links") {
  for (const auto& [file, sets] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"two-gpus", {}},
           {"two-gpus", {"resolution=full"}},
           {"zero-bubble-6.2b", {}},
           {"dualpipe-8x20", {}},
           {"mixtral-8x7b-h100", {"schedule.kind=zb_v", "recompute=attention"}},
           {"mixtral-8x7b-h100", {"schedule.kind=dualpipe", "parallelism.context=2"}},
           {"mixtral-8x7b-h100",
            {R"(routing={"kind": "top_k", "skew": {"kind": "zipf", "exponent": 0.5}})"}}}) {
    INFO(file);
    require_counters_of_report(scenario_of(file, sets));
  }
}

TEST_CASE("A trace says which backward an overlapped forward shares the device with") {
  const Scenario scenario = load_scenario(MOESIM_SOURCE "/scenarios/dualpipe-8x20.json");
  const Simulation run = simulate(scenario);
  const std::string text =
      write_trace("", tracks_of(run.work, run.graph, run.timeline), run.graph, run.timeline);
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, Json> beside;
  for (const Event& event : events_of(text)) {
    const Json& of = event.arguments;
    CHECK(of.contains("beside") == of.contains("overlapped"));
    if (of.contains("beside"))
      beside[{of.at("stage"), of.at("chunk"), of.at("microbatch")}] = of.at("beside");
  }
  std::size_t pairs = 0;
  const Order& order = run.work.order;
  for (std::size_t r = 0; r < order.ranks.size(); ++r) {
    for (std::size_t i = 0; i < order.ranks[r].size(); ++i) {
      const Slot& slot = order.ranks[r][i];
      if (!slot.overlapped) continue;
      ++pairs;
      const Slot& other = order.ranks[r][i + 1];
      CHECK(beside.at({static_cast<std::int64_t>(r), slot.chunk, slot.microbatch}) ==
            Json{{"pass", "backward"}, {"microbatch", other.microbatch}, {"chunk", other.chunk}});
      const std::string name = fmt::format("\"F{} with BW{}\"", slot.microbatch, other.microbatch);
      CHECK(text.find(name) != std::string::npos);
    }
  }
  CHECK(beside.size() == pairs);
}

TEST_CASE("A trace names ranks by what they stand for") {
  const auto names = [](const std::string& file, const std::string& set) {
    const Scenario scenario = load_scenario(file, {parse_override(set)});
    return actor_names(scenario, lower(work_of(scenario)));
  };
  CHECK(names("scenarios/mixtral-8x7b-h100.json", "about=x").back() == "pipeline rank 3 (16 devices)");
  CHECK(names("scenarios/two-gpus.json", "resolution=full").back() == "device 1: pipeline rank 0");
  CHECK(names("scenarios/mixtral-8x7b-h100.json",
              R"(routing={"kind": "top_k", "skew": {"kind": "zipf", "exponent": 0.5}})")
            .back() == "pipeline rank 3, expert rank 7 (2 devices)");
  const std::vector<std::string> servers = names("scenarios/gradient-parameter-server.json", "about=x");
  CHECK(servers.front() == "device 0: pipeline rank 0");
  CHECK(servers.back().find(" alike: pipeline rank 0") != std::string::npos);
  CHECK(names("scenarios/dualpipe-8x20.json", "about=x").back() == "pipeline rank 7");
}
