// Laws of uneven routing: every rank has its own rows, traffic and finish, and nothing is lost on the way.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <map>
#include <numeric>

#include "models/base/error.hpp"
#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/fact.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/share.hpp"

using namespace moesim;

namespace {

/// A model of three layers, two with experts, on nodes of four devices.
struct Setup {
  std::int64_t devices = 8, expert = 8, tensor = 1, pipeline = 1, sequences = 32, top_k = 2, length = 512;
  std::string dispatch = "pairwise";
  std::string schedule = "1f1b";
  std::string placement = R"(["tensor", "context", "expert", "data", "pipeline"])";
};

constexpr std::int64_t hidden = 1024, experts = 32, moe_layers = 2;

Scenario scenario_of(const Setup& setup, const std::string& routing, const std::string& more = {}) {
  const std::string text = fmt::format(
      R"({{"model": {{"name": "small", "hidden": {}, "vocabulary": 1024, "layers": 4,
            "attention": {{"kind": "multi_head", "heads": 8}},
            "feed_forward": {{"width": 2048}}, "dense_layers": 2,
            "moe": {{"experts": {}, "top_k": {}, "width": 1024, "groups": 4, "chosen_groups": 2}}}},
          "software": {{"kind": "ideal"}},
          "cluster": {{"name": "nodes", "device": "configs/devices/h100.json", "devices": {},
            "topology": {{"kind": "rail_fat_tree", "levels": 2, "devices_per_node": 4,
              "nvlink_rate": "400 GB/s", "nic_rate": "50 GB/s"}}}},
          "batch": {{"sequences": {}, "sequence_length": {}}},
          "parallelism": {{"pipeline": {}, "tensor": {}, "expert": {}, "placement": {}}},
          "schedule": {{"kind": "{}"}},
          "routing": {},
          "collectives": {{"dispatch": {{"kind": "{}"}}, "combine": {{"kind": "{}"}}}} {}}})",
      hidden, experts, setup.top_k, setup.devices, setup.sequences, setup.length, setup.pipeline,
      setup.tensor, setup.expert, setup.placement, setup.schedule, routing, setup.dispatch, setup.dispatch,
      more);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/imbalance.json"));
}

std::string zipf(double exponent, const std::string& more = {}) {
  return fmt::format(R"({{"kind": "top_k", "skew": {{"kind": "zipf", "exponent": {}}} {}}})", exponent, more);
}

constexpr const char* full = R"(, "resolution": "full")";

const std::vector<Setup>& setups() {
  static const std::vector<Setup> all{
      {},                                                                       // one group over two nodes
      {.devices = 16, .expert = 4},                                             // one node a group
      {.devices = 16, .expert = 8, .pipeline = 2, .dispatch = "hierarchical"},  //
      {.devices = 16, .expert = 8, .tensor = 2, .pipeline = 2},                 //
      {.devices = 16,
       .expert = 2,
       .tensor = 4,
       .pipeline = 2,
       .sequences = 64},  // groups inside tensor groups
      {.devices = 16, .expert = 4, .pipeline = 4, .schedule = "dualpipe"},
      {.devices = 16, .expert = 4, .placement = R"(["tensor", "context", "data", "expert", "pipeline"])"},
      {.devices = 8, .expert = 1},
  };
  return all;
}

std::string name_of(const Setup& s) {
  return fmt::format("{} devices, EP{}, TP{}, PP{}, {}, {}", s.devices, s.expert, s.tensor, s.pipeline,
                     s.dispatch, s.schedule);
}

Time step_time(const Scenario& scenario) { return simulate(scenario).report.step_time; }

/// Bytes that leave a rank for another in all exchanges of a phase, from the rows themselves.
std::int64_t bytes_between_ranks(const Work& work) {
  const Scenario& scenario = work.scenario;
  const std::int64_t ranks = scenario.layout.sizes().expert;
  std::int64_t rows = 0;
  for (std::int64_t layer = 0; layer < 4; ++layer) {
    if (!scenario.model.layers[static_cast<std::size_t>(layer)].is_moe) continue;
    for (std::int64_t microbatch = 0; microbatch < scenario.microbatches(); ++microbatch) {
      const RankRows sent = work.loads->rows(scenario, work.loads->number_of(layer, microbatch, 0));
      for (std::int64_t i = 0; i < ranks * ranks; ++i) {
        if (i / ranks != i % ranks) rows += sent.sent[static_cast<std::size_t>(i)];
      }
    }
  }
  return rows * scenario.layout.sizes().expert_data() * hidden * 2;
}

}  // namespace

TEST_CASE("Perfect balance is the folded step, whatever the skew was") {
  for (const Setup& setup : setups()) {
    CAPTURE(name_of(setup));
    const Report even = simulate(scenario_of(setup, R"({"kind": "top_k"})")).report;
    const Report balanced = simulate(scenario_of(setup, zipf(1.2, R"(, "balance": 1)"))).report;
    CHECK(balanced.fingerprint == even.fingerprint);
    CHECK(!balanced.routing->imbalance_cost);
  }
}

TEST_CASE("Loads that turn out even take as long rank by rank as folded") {
  // So little skew that rows are even, but nobody said so: every rank is simulated.
  for (const Setup& setup : setups()) {
    CAPTURE(name_of(setup));
    const Report even = simulate(scenario_of(setup, R"({"kind": "top_k"})")).report;
    const Report unfolded = simulate(scenario_of(setup, zipf(1e-12))).report;
    REQUIRE(unfolded.routing->load_max_over_mean == 1);
    if (setup.expert > 1)
      CHECK(moesim::number("engine.tasks", unfolded) > moesim::number("engine.tasks", even));
    CHECK(to_seconds(unfolded.step_time) == Approx(to_seconds(even.step_time)).epsilon(1e-9));
    CHECK(to_seconds(*unfolded.routing->imbalance_cost) == Approx(0).margin(1e-9));
    for (std::size_t activity = 0; activity < activity_count; ++activity) {
      CAPTURE(activities[activity].name);
      CHECK(static_cast<double>(unfolded.communications[activity].bytes) ==
            Approx(static_cast<double>(even.communications[activity].bytes)).epsilon(1e-6));
    }
    CHECK(unfolded.memory_peak() == even.memory_peak());
  }
}

TEST_CASE("More skew never makes a step faster") {
  // The busiest expert gets more with every exponent; so does the busiest rank as long as the hot experts of
  // a rank stay hot together (at 2.5 a token's two experts get nearly all, and they may lie on two ranks). A
  // lone rank has nobody to wait for it.
  for (const Setup& setup : setups()) {
    if (setup.expert == 1) continue;
    CAPTURE(name_of(setup));
    Report before = simulate(scenario_of(setup, R"({"kind": "top_k"})")).report;
    int compared = 0;
    for (const double exponent : {0.3, 0.6, 1.0, 1.5}) {
      CAPTURE(exponent);
      Report now = simulate(scenario_of(setup, zipf(exponent))).report;
      CHECK(now.routing->load_max_over_mean > before.routing->load_max_over_mean);
      if (now.routing->rank_load_max_over_mean >= before.routing->rank_load_max_over_mean) {
        // Tiles of matrix products are whole: more rows in fewer experts may fill them a little better.
        CHECK(to_seconds(now.step_time) > to_seconds(before.step_time) * 0.999);
        ++compared;
      }
      before = std::move(now);
    }
    CHECK(compared >= 3);
  }
}

TEST_CASE("More balance never makes a step slower") {
  for (const Setup& setup : {setups()[0], setups()[2], setups()[5]}) {
    CAPTURE(name_of(setup));
    Time before = step_time(scenario_of(setup, zipf(1.2)));
    for (const double balance : {0.25, 0.5, 0.75, 1.0}) {
      CAPTURE(balance);
      const Time now = step_time(scenario_of(setup, zipf(1.2, fmt::format(R"(, "balance": {})", balance))));
      CHECK(to_seconds(now) < to_seconds(before) * 1.001);
      before = now;
    }
  }
}

TEST_CASE("With one expert group folded is full, to the last event") {
  for (const Setup& setup : {Setup{}, Setup{.devices = 16, .expert = 8, .pipeline = 2},
                             Setup{.devices = 16, .expert = 8, .pipeline = 2, .dispatch = "hierarchical"},
                             Setup{.devices = 16, .expert = 8, .tensor = 2, .pipeline = 2}}) {
    for (const std::string& routing :
         {zipf(1.0),
          std::string(R"({"kind": "top_k", "skew": {"kind": "dirichlet", "varies": "microbatch"}})"),
          zipf(1.0, R"(, "placement": "balanced", "redundant": 8)")}) {
      CAPTURE(name_of(setup), routing);
      const Report folded = simulate(scenario_of(setup, routing)).report;
      CHECK(folded.fingerprint == simulate(scenario_of(setup, routing, full)).report.fingerprint);
      CHECK(folded.makespan < folded.step_time);
    }
  }
}

TEST_CASE("Expert groups with the same loads fold to one of them") {
  for (const Setup& setup : setups()) {
    CAPTURE(name_of(setup));
    const Report one = simulate(scenario_of(setup, zipf(0.8))).report;
    const Report all = simulate(scenario_of(setup, zipf(0.8), full)).report;
    CHECK(moesim::number("engine.tasks", all) >= moesim::number("engine.tasks", one));
    CHECK(one.step_time == all.step_time);
    CHECK(one.makespan == all.makespan);
    CHECK(one.breakdown.compute == all.breakdown.compute);
    for (std::size_t activity = 0; activity < activity_count; ++activity) {
      CAPTURE(activities[activity].name);
      CHECK(static_cast<double>(one.communications[activity].bytes) ==
            Approx(static_cast<double>(all.communications[activity].bytes)).epsilon(1e-6));
    }
    CHECK(one.routing->rank_load_max_over_mean == all.routing->rank_load_max_over_mean);
    CHECK(one.memory_peak() == all.memory_peak());
  }
}

TEST_CASE("In full resolution every expert group draws its own loads") {
  const std::string drawn = R"({"kind": "switch", "padded": false})";
  const Setup setup{.devices = 16, .expert = 4, .top_k = 1};
  const Scenario folded = scenario_of(setup, drawn);
  const Scenario every = scenario_of(setup, drawn, full);
  const ExpertLoads one(folded);
  const ExpertLoads all(every);
  CHECK(one.groups() == 1);
  CHECK(all.groups() == 4);
  CHECK(all.count() == 4 * one.count());
  const auto first = all.rows(every, all.number_of(2, 0, 0));
  CHECK(first.sent == one.rows(folded, one.number_of(2, 0, 0)).sent);
  CHECK(first.sent != all.rows(every, all.number_of(2, 0, 1)).sent);
  CHECK(simulate(every).report.routing->least <= simulate(folded).report.routing->least);
}

TEST_CASE("Padded buffers go and are computed whole: all ranks are alike, what is dropped is counted") {
  for (const double factor : {0.5, 1.0, 2.0}) {
    CAPTURE(factor);
    const Setup setup{.devices = 16, .expert = 8, .pipeline = 2, .top_k = 1, .dispatch = "hierarchical"};
    const std::string routing =
        fmt::format(R"({{"kind": "switch", "capacity_factor": {}, "skew": {{"kind": "zipf"}}}})", factor);
    const Scenario scenario = scenario_of(setup, routing);
    CHECK(work_of(scenario).loads == nullptr);
    const std::int64_t tokens = tokens_per_device(scenario);
    const std::int64_t capacity = padded_capacity(scenario, 2);
    CHECK(static_cast<double>(capacity) == Approx(factor * static_cast<double>(tokens) / experts));
    CHECK(dispatched_rows(scenario, 2) == experts * capacity);
    const Report report = simulate(scenario).report;
    const double kept = 1 - report.routing->dropped_token_fraction;
    CHECK(report.routing->dropped_token_fraction > 0);
    CHECK((1 - report.routing->padded_row_fraction) * factor == Approx(kept));
    CHECK(report.step_time == simulate(scenario_of(setup, routing, full)).report.step_time);
    // A buffer is full of rows that nobody can send once for several experts.
    const auto dispatch = report.communications[static_cast<std::size_t>(Activity::dispatch)].bytes;
    const std::int64_t rows = 16 / 2 * moe_layers * scenario.microbatches() * experts * capacity;
    CHECK(dispatch >= rows * 7 / 8 * hidden * 2);
  }
}

TEST_CASE("Every routed row is computed once and every byte sent arrives, there and back") {
  for (const Setup& setup : setups()) {
    CAPTURE(name_of(setup));
    const Scenario scenario = scenario_of(setup, zipf(1.0));
    const Work work = work_of(scenario);
    const TaskGraph graph = lower(work);
    const std::int64_t ranks = scenario.layout.sizes().expert;
    const std::int64_t choices = ranks * tokens_per_device(scenario) * 2;
    for (std::uint32_t number = 0; number < work.loads->count(); ++number) {
      std::int64_t rows = 0;
      for (std::int64_t rank = 0; rank < ranks; ++rank) rows += work.loads->work(number, rank).rows;
      CHECK(rows == choices);
    }
    if (setup.dispatch != "pairwise" || setup.expert == 1) continue;
    std::map<Activity, std::int64_t> bytes;
    for (TaskId task = 0; task < graph.size(); ++task) {
      if (graph.kinds[task] != TaskKind::coflow) continue;
      const Pattern& pattern = graph.pattern_table[graph.patterns[task]];
      CHECK(pattern.bytes_sent == pattern.bytes_received);
      bytes[graph.tags[task].activity] += pattern.bytes_sent;
    }
    for (const Activity activity :
         {Activity::dispatch, Activity::combine, Activity::dispatch_backward, Activity::combine_backward})
      CHECK(bytes[activity] == bytes_between_ranks(work));
  }
}

TEST_CASE("Each rank computes its own rows: the tasks of a layer take what its work says") {
  const Scenario scenario = scenario_of({}, zipf(1.0));
  const Work work = work_of(scenario);
  const TaskGraph graph = lower(work);
  std::size_t seen = 0;
  for (TaskId task = 0; task < graph.size(); ++task) {
    const Tag& tag = graph.tags[task];
    if (tag.activity != Activity::feed_forward || tag.pass != PassKind::forward) continue;
    if (!scenario.model.layers[static_cast<std::size_t>(tag.layer)].is_moe) continue;
    const std::uint32_t number = work.loads->number_of(tag.layer, tag.microbatch, 0);
    const BlockTimes& times = work.loads->work(number, graph.actors[task]).times;
    const double pace = work.paces[static_cast<std::size_t>(tag.pipeline_rank)];
    CHECK(graph.durations[task] == scaled(times.in(OpPass::forward).time, pace));
    ++seen;
  }
  CHECK(seen == static_cast<std::size_t>(8 * moe_layers * scenario.microbatches()));
}

TEST_CASE("Placement by load, with copies of hot experts or without, never slows the passes down") {
  for (Setup setup : setups()) {
    if (setup.expert == 1) continue;     // copies on one and the same rank are only more products
    setup.length = 4096 * setup.tensor;  // rows enough that an expert's time is its rows, not its weights
    CAPTURE(name_of(setup));
    for (const double exponent : {0.5, 1.0}) {
      const Report in_order = simulate(scenario_of(setup, zipf(exponent))).report;
      const Report packed =
          simulate(scenario_of(setup, zipf(exponent, R"(, "placement": "balanced")"))).report;
      const Report copied =
          simulate(
              scenario_of(setup, zipf(exponent, fmt::format(R"(, "placement": "balanced", "redundant": {})",
                                                            setup.expert))))
              .report;
      CHECK(to_seconds(packed.makespan) <= to_seconds(in_order.makespan) * 1.001);
      CHECK(packed.routing->rank_load_max_over_mean <= in_order.routing->rank_load_max_over_mean);
      const double less = copied.routing->rank_load_max_over_mean / in_order.routing->rank_load_max_over_mean;
      CAPTURE(less, exponent);
      // Where copies take nothing off the busiest rank, they are one more product.
      CHECK(to_seconds(copied.makespan) <= to_seconds(in_order.makespan) * (less < 0.98 ? 1.001 : 1.005));
    }
  }
}

TEST_CASE("Copies of experts go with every way of synchronising gradients") {
  for (const char* kind : {"all_reduce", "zero1", "zero2", "zero3", "parameter_server"}) {
    CAPTURE(kind);
    const Setup setup{.devices = 16, .expert = 4};
    const std::string sync = fmt::format(R"(, "gradient_sync": {{"kind": "{}"}})", kind);
    const std::string placed = R"(, "placement": "balanced", "redundant": {})";
    const auto gradients = [&](int copies) {
      const std::string routing = zipf(1.0, fmt::format(fmt::runtime(placed), copies));
      const Report report = simulate(scenario_of(setup, routing, sync)).report;
      return report.communications[static_cast<std::size_t>(Activity::gradient)].bytes;
    };
    CHECK(gradients(8) > gradients(0));
  }
}

TEST_CASE("A hot expert with copies costs less than without, gradients of the copies included") {
  const Report alone = simulate(scenario_of({}, zipf(1.5, R"(, "placement": "balanced")"))).report;
  const Report copied =
      simulate(scenario_of({}, zipf(1.5, R"(, "placement": "balanced", "redundant": 8)"))).report;
  CHECK(copied.step_time < alone.step_time);
  CHECK(*copied.routing->imbalance_cost < *alone.routing->imbalance_cost);
  const auto gradient = static_cast<std::size_t>(Activity::gradient);
  CHECK(copied.communications[gradient].bytes > alone.communications[gradient].bytes);
  CHECK(copied.memory.front().parameters > alone.memory.front().parameters);
}

TEST_CASE("What imbalance costs is the step less the same one with even loads") {
  const Setup setup = setups()[2];
  const Report even = simulate(scenario_of(setup, R"({"kind": "top_k"})")).report;
  const Report skewed = simulate(scenario_of(setup, zipf(1.0))).report;
  CHECK(*skewed.routing->imbalance_cost == skewed.step_time - even.step_time);
  CHECK(*skewed.routing->imbalance_cost > Time{});
}

TEST_CASE("A contended fabric never makes uneven loads faster") {
  for (const Setup& setup : setups()) {
    CAPTURE(name_of(setup));
    const Report ideal = simulate(scenario_of(setup, zipf(1.0), R"(, "engine": {"kind": "ideal"})")).report;
    CHECK(ideal.step_time <= simulate(scenario_of(setup, zipf(1.0))).report.step_time);
  }
}

TEST_CASE("Copies and spread that cannot be are refused with the reason") {
  const Setup setup{.devices = 8, .expert = 8};
  const auto refusal = [&](const std::string& routing, std::int64_t top_k = 2) {
    Setup asked = setup;
    asked.top_k = top_k;
    try {
      static_cast<void>(scenario_of(asked, routing));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("nothing is wrong");
  };
  CHECK(refusal(zipf(1, R"(, "placement": "balanced", "redundant": 4)"))
            .ends_with("routing.redundant: 32 experts + 4 redundant = 36 slots do not divide by expert 8"));
  CHECK(refusal(zipf(1, R"(, "redundant": 8)"))
            .ends_with("routing.redundant: is 8, but in_order placement makes no copies"));
  CHECK(refusal(R"({"kind": "switch", "placement": "balanced", "redundant": 8})", 1)
            .ends_with("routing.redundant: is 8, but padded buffers are full whatever the load: copies of "
                       "experts have nothing to share"));
  CHECK(refusal(zipf(1, R"(, "spread": 0.1)"))
            .ends_with(
                "routing.spread: is 0.1, but the loads of each rank are simulated: it stands for skew in "
                "closed form"));
  CHECK(refusal(zipf(1, R"(, "balance": 1, "spread": 0.1)")) == "nothing is wrong");
}
