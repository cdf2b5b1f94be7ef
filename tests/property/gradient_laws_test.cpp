// Laws of gradient synchronisation over kinds, schedules and layouts.
#include <catch2/catch.hpp>

#include "sim/run/simulate.hpp"
#include "tests/support/gradients.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

constexpr const char* kinds[] = {"all_reduce", "zero1", "zero2", "zero3", "parameter_server"};

std::string sync_of(const std::string& kind, bool overlap) {
  return R"({"kind": ")" + kind + R"(", "overlap": )" + (overlap ? "true" : "false") +
         (kind == "zero3" ? "}" : R"(, "bucket": "100 MB"})");
}

struct Shape {
  int pipeline, expert;
  const char* schedule;
};

}  // namespace

TEST_CASE(
    "Beside compute the step takes no longer than with gradients after it, and no less than compute alone") {
  const Shape shape = GENERATE(Shape{1, 4, "1f1b"}, Shape{4, 4, "1f1b"}, Shape{2, 2, "gpipe"},
                               Shape{4, 2, "zb_h1"}, Shape{2, 4, "interleaved"}, Shape{2, 4, "dualpipev"});
  const std::string kind = GENERATE(from_range(std::begin(kinds), std::end(kinds)));
  CAPTURE(shape.pipeline, shape.expert, shape.schedule, kind);
  const auto run = [&](bool overlap) {
    return simulate(scenario_of({.sync = sync_of(kind, overlap),
                                 .pipeline = shape.pipeline,
                                 .expert = shape.expert,
                                 .schedule = std::string(R"({"kind": ")") + shape.schedule + R"("})"}))
        .report;
  };
  const Report after = run(false);
  const Report beside = run(true);
  // In a pipeline a gradient can hold up an exchange, on links that they share, that another stage waits for;
  // no longer than it is under way.
  const Time held_up =
      shape.pipeline == 1 ? Time{} : beside.communications[static_cast<std::size_t>(Activity::gradient)].busy;
  CHECK(beside.step_time <= after.step_time + held_up);
  CHECK(beside.step_time >= beside.breakdown.compute + beside.breakdown.optimizer);
  CHECK(beside.breakdown.compute == after.breakdown.compute);
  CHECK(beside.breakdown.optimizer == after.breakdown.optimizer);
  for (const Activity activity : {Activity::gradient, Activity::parameter, Activity::dispatch}) {
    CHECK(beside.communications[static_cast<std::size_t>(activity)].bytes ==
          after.communications[static_cast<std::size_t>(activity)].bytes);
  }
}

TEST_CASE(
    "Gradients beside compute hold the multiprocessors of their kernels, and compute is slower for it") {
  const auto run = [&](const std::string& overlap, const std::string& collectives) {
    return simulate(scenario_of({.sync = R"({"kind": "zero1", "overlap": )" + overlap + "}",
                                 .collectives = collectives}))
        .report;
  };
  const std::string held = R"({"communication_sms": 20})";
  CHECK(run("true", held).breakdown.compute > run("false", held).breakdown.compute);
  CHECK(run("true", "{}").breakdown.compute == run("false", "{}").breakdown.compute);
}

TEST_CASE("What is sharded takes less memory: zero3, zero2, zero1, all_reduce") {
  const int pipeline = GENERATE(1, 2);
  const bool overlap = GENERATE(false, true);
  // Many layers, so that the layer at hand is a small part.
  const auto memory = [&](const std::string& kind) {
    const std::string sync = kind == "zero3" ? sync_of(kind, overlap)
                                             : R"({"kind": ")" + kind + R"(", "overlap": )" +
                                                   (overlap ? "true" : "false") + R"(, "bucket": "1 MB"})";
    return memory_of_ranks(work_of(scenario_of({.sync = sync, .pipeline = pipeline, .layers = 48})));
  };
  const std::vector<MemoryReport> all_reduce = memory("all_reduce"), zero1 = memory("zero1"),
                                  zero2 = memory("zero2"), zero3 = memory("zero3"),
                                  server = memory("parameter_server");
  for (std::size_t rank = 0; rank < all_reduce.size(); ++rank) {
    CHECK(zero1[rank].total() < all_reduce[rank].total());
    CHECK(zero2[rank].total() < zero1[rank].total());
    CHECK(zero3[rank].total() < zero2[rank].total());
    CHECK(zero1[rank].optimizer < all_reduce[rank].optimizer);
    CHECK(zero1[rank].gradients == all_reduce[rank].gradients);
    CHECK(zero2[rank].gradients < zero1[rank].gradients);
    CHECK(zero2[rank].parameters == zero1[rank].parameters);
    CHECK(zero3[rank].parameters < zero2[rank].parameters);
    CHECK(server[rank].optimizer == all_reduce[rank].optimizer);
  }
}

TEST_CASE("A folded run equals the full run for every way of synchronisation") {
  const Shape shape = GENERATE(Shape{1, 4, "1f1b"}, Shape{2, 4, "zb_h1"}, Shape{2, 2, "dualpipev"});
  const std::string kind = GENERATE(from_range(std::begin(kinds), std::end(kinds)));
  const bool overlap = GENERATE(false, true);
  CAPTURE(shape.pipeline, shape.expert, shape.schedule, kind, overlap);
  const auto run = [&](const std::string& resolution) {
    return simulate(scenario_of({.sync = sync_of(kind, overlap),
                                 .pipeline = shape.pipeline,
                                 .expert = shape.expert,
                                 .sequences = 32,
                                 .schedule = std::string(R"({"kind": ")") + shape.schedule + R"("})",
                                 .resolution = resolution}))
        .report;
  };
  const Report folded = run("folded");
  const Report full = run("full");
  CHECK(folded.step_time == full.step_time);
  CHECK(folded.makespan == full.makespan);
  CHECK(folded.breakdown.compute == full.breakdown.compute);
  // A server is not like its peers: they wait while it updates, and what is sent to it slows only exchanges
  // on its links. The step waits for it, so that the folded run counts all as the server.
  if (kind != "parameter_server") {
    CHECK(folded.breakdown.exposed_communication == full.breakdown.exposed_communication);
    CHECK(folded.breakdown.optimizer == full.breakdown.optimizer);
  }
  for (const Activity activity : {Activity::gradient, Activity::parameter}) {
    const CommunicationReport& one = folded.communications[static_cast<std::size_t>(activity)];
    const CommunicationReport& other = full.communications[static_cast<std::size_t>(activity)];
    CAPTURE(name_of(activity));
    CHECK(static_cast<double>(one.bytes) == Approx(static_cast<double>(other.bytes)).epsilon(1e-6));
    CHECK(one.busy == other.busy);
  }
  for (std::size_t part = 0; part < held_part_count; ++part) {
    CHECK(to_seconds(folded.gradient_parts[part].busy) ==
          Approx(to_seconds(full.gradient_parts[part].busy)).margin(1e-12));
  }
}

TEST_CASE("Ranks that hold a stage for opposite directions send its gradients together, beside compute too") {
  for (const std::string schedule : {"dualpipe", "chimera"}) {
    for (const std::string kind : {"all_reduce", "zero1", "parameter_server"}) {
      CAPTURE(schedule, kind);
      const auto run = [&](bool overlap, const std::string& resolution) {
        return simulate(scenario_of({.sync = sync_of(kind, overlap),
                                     .pipeline = 4,
                                     .sequences = 64,
                                     .schedule = R"({"kind": ")" + schedule + R"("})",
                                     .resolution = resolution}))
            .report;
      };
      const Report beside = run(true, "folded");
      CHECK(beside.step_time <= run(false, "folded").step_time);
      CHECK(beside.step_time == run(true, "full").step_time);
    }
  }
}

TEST_CASE("Parameters that come back beside first passes are as many, and the step takes no longer") {
  const Shape shape = GENERATE(Shape{1, 4, "1f1b"}, Shape{4, 4, "1f1b"}, Shape{2, 4, "interleaved"});
  const std::string kind = GENERATE("zero1", "zero2");
  CAPTURE(shape.pipeline, shape.schedule, kind);
  const auto run = [&](const char* beside) {
    return simulate(scenario_of({.sync = R"({"kind": ")" + kind +
                                         R"(", "overlap": true, "overlap_parameters": )" + beside + "}",
                                 .pipeline = shape.pipeline,
                                 .expert = shape.expert,
                                 .schedule = std::string(R"({"kind": ")") + shape.schedule + R"("})"}))
        .report;
  };
  const Report before = run("false"), beside = run("true");
  const auto of = [](const Report& report) {
    return report.communications[static_cast<std::size_t>(Activity::parameter)];
  };
  CHECK(of(beside).bytes == of(before).bytes);
  CHECK(of(beside).exposed < of(before).exposed);
  CHECK(beside.step_time < before.step_time);
  CHECK(beside.breakdown.compute == before.breakdown.compute);
  CHECK(beside.memory_peak() == before.memory_peak());
}

TEST_CASE("Parameters come back whole before any pass of ranks that hold a stage for both directions") {
  CHECK_THROWS_WITH(scenario_of({.sync = R"({"kind": "zero1", "overlap_parameters": true})",
                                 .pipeline = 4,
                                 .schedule = R"({"kind": "chimera"})"}),
                    Catch::Contains("gradient_sync.overlap_parameters: is true, but ranks"));
}
