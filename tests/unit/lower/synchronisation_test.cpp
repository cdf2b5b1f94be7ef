// What each way of synchronisation sends, to the byte, and whose link a parameter server waits for.
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "sim/lower/communicators.hpp"
#include "sim/lower/lower.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/holdings.hpp"
#include "tests/support/gradients.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

std::int64_t bytes_of(const Report& report, Activity activity) {
  return report.communications[static_cast<std::size_t>(activity)].bytes;
}
Time busy_of(const Report& report, Activity activity) {
  return report.communications[static_cast<std::size_t>(activity)].busy;
}

/// Bytes that all groups together send when each rank of N sends (N-1)/N of what it holds once.
std::int64_t once(const Scenario& scenario, Precision precision) {
  const Sizes& sizes = scenario.layout.sizes();
  std::int64_t elements = 0;
  for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
    const Holdings held = holdings(scenario, rank);
    elements += held.replicated() * (sizes.data - 1);                       // one group
    elements += held.experts() * (sizes.expert_data() - 1) * sizes.expert;  // one an expert rank
  }
  return (size_of(precision) * elements).count;
}

}  // namespace

TEST_CASE("Each way of synchronisation sends the bytes of its formula") {
  const int pipeline = GENERATE(1, 4);
  const std::string overlap = GENERATE("false", "true");
  const auto run = [&](const std::string& kind, const std::string& more = {}) {
    return simulate(scenario_of({.sync = R"({"kind": ")" + kind + R"(", "overlap": )" + overlap + more + "}",
                                 .pipeline = pipeline}))
        .report;
  };
  CAPTURE(pipeline, overlap);
  const Scenario scenario = scenario_of({.pipeline = pipeline});
  const std::int64_t gradients = once(scenario, Precision::fp32);
  const std::int64_t parameters = once(scenario, Precision::bf16);
  const std::int64_t microbatches = scenario.microbatches();
  REQUIRE(microbatches == 4 * pipeline);

  const Report all_reduce = run("all_reduce", R"(, "bucket": "100 MB")");
  CHECK(bytes_of(all_reduce, Activity::gradient) == 2 * gradients);
  CHECK(bytes_of(all_reduce, Activity::parameter) == 0);

  const Report zero1 = run("zero1", R"(, "bucket": "100 MB")");
  CHECK(bytes_of(zero1, Activity::gradient) == gradients);
  CHECK(bytes_of(zero1, Activity::parameter) == parameters);

  const Report zero2 = run("zero2", R"(, "bucket": "100 MB")");
  CHECK(bytes_of(zero2, Activity::gradient) == microbatches * gradients);
  CHECK(bytes_of(zero2, Activity::parameter) == parameters);

  for (const std::string kind : {"zero3", "fsdp"}) {
    const Report zero3 = run(kind);
    CHECK(bytes_of(zero3, Activity::gradient) == microbatches * gradients);
    CHECK(bytes_of(zero3, Activity::parameter) == 2 * microbatches * parameters);
    const Report kept = run(kind, R"(, "reshard_after_forward": false)");
    CHECK(bytes_of(kept, Activity::gradient) == microbatches * gradients);
    CHECK(bytes_of(kept, Activity::parameter) == parameters);
  }

  const Report server = run("parameter_server");
  CHECK(bytes_of(server, Activity::gradient) == gradients);
  CHECK(bytes_of(server, Activity::parameter) == parameters);
}

TEST_CASE("With a server on each node, ranks send to theirs and servers sum among each other") {
  const Scenario scenario = scenario_of(
      {.sync =
           R"({"kind": "parameter_server", "servers": "per_node", "overlap": true, "bucket": "100 MB"})"});
  const Report report = simulate(scenario).report;
  const Holdings held = holdings(scenario, 0);
  // 16 ranks on 2 nodes hold what is replicated; each expert is on 4 ranks, 2 a node, in 4 groups.
  const std::int64_t to_servers = 14 * held.replicated() + 4 * 2 * held.experts();
  const std::int64_t among_servers = 2 * held.replicated() + 4 * 2 * held.experts();
  CHECK(bytes_of(report, Activity::gradient) == 4 * (to_servers + among_servers));
  CHECK(bytes_of(report, Activity::parameter) == 2 * to_servers);
}

TEST_CASE("A parameter server's own link limits it") {
  const Scenario scenario = scenario_of({.sync = R"({"kind": "parameter_server"})", .expert = 1});
  const Report server = simulate(scenario).report;
  const Report ring = simulate(scenario_of({.sync = R"({"kind": "all_reduce"})", .expert = 1})).report;
  Rate nic;
  Rate nvlink;
  for (const Link& link : scenario.fabric().links()) {
    if (link.link_class == LinkClass::infiniband) nic = link.rate;
    if (link.link_class == LinkClass::nvlink) nvlink = link.rate;
  }
  // Eight ranks of the other node send all that they hold through the server's NIC. On their way out
  // parameters for another rail leave the server over NVLink, as do those for its own node.
  const auto held = static_cast<double>(holdings(scenario, 0).total());
  CHECK(to_seconds(busy_of(server, Activity::gradient)) == Approx(8 * 4 * held / nic.count).epsilon(1e-3));
  CHECK(to_seconds(busy_of(server, Activity::parameter)) ==
        Approx(14 * 2 * held / nvlink.count).epsilon(1e-3));
  // All the while that link is busy and the others of its class are not.
  for (const LinkClassReport& row : server.link_classes) {
    if (row.link_class != LinkClass::infiniband) continue;
    const double in_flight = to_seconds(busy_of(server, Activity::gradient)) / to_seconds(server.step_time);
    CHECK(row.max_utilization == Approx(in_flight).epsilon(1e-3));
    CHECK(row.mean_utilization < row.max_utilization / 8);
  }
  CHECK(busy_of(server, Activity::gradient) > 4 * busy_of(ring, Activity::gradient));
}

TEST_CASE("Gradients are told apart by the part of the model that they belong to") {
  for (const std::string kind : {"all_reduce", "zero1", "zero2", "zero3", "parameter_server"}) {
    CAPTURE(kind);
    const Scenario scenario =
        scenario_of({.sync = R"({"kind": ")" + kind + R"(", "overlap": true})", .pipeline = 2});
    const Report report = simulate(scenario).report;
    std::int64_t bytes = 0;
    Time busy;
    for (const GradientPartReport& part : report.gradient_parts) {
      bytes += part.bytes;
      busy += part.busy;
    }
    CHECK(std::abs(bytes - bytes_of(report, Activity::gradient)) <= 3);  // each part is rounded
    CHECK(to_seconds(busy) == Approx(to_seconds(busy_of(report, Activity::gradient))));
    const auto part = [&](HeldPart which) {
      return report.gradient_parts[static_cast<std::size_t>(which)].bytes;
    };
    Holdings whole = holdings(scenario, 0);
    whole += holdings(scenario, 1);
    CHECK(static_cast<double>(part(HeldPart::router)) / static_cast<double>(part(HeldPart::attention)) ==
          Approx(static_cast<double>(whole.of(HeldPart::router)) /
                 static_cast<double>(whole.of(HeldPart::attention))));
    CHECK(part(HeldPart::experts) > 0);
    CHECK(part(HeldPart::feed_forward) == 0);  // no dense layer, no shared expert
  }
}

TEST_CASE("Sharded gradients and parameters are refused where two ranks hold a stage") {
  for (const std::string kind : {"zero2", "zero3", "fsdp"}) {
    CHECK_THROWS_WITH(
        scenario_of(
            {.sync = R"({"kind": ")" + kind + R"("})", .pipeline = 4, .schedule = R"({"kind": "dualpipe"})"}),
        Catch::Contains("gradient_sync: shards gradients or parameters over ranks that hold"));
  }
}

TEST_CASE("A bucket is Megatron-LM's unless it is given, and not too small for a graph") {
  const GradientPlan usual = scenario_of({.sync = R"({"kind": "zero1", "overlap": true})"}).gradient_sync;
  CHECK(usual.bucket_for(2, Bytes{4}) == Bytes{160'000'000});
  CHECK(usual.bucket_for(40, Bytes{4}) == Bytes{160'000'000});
  CHECK(usual.bucket_for(41, Bytes{2}) == Bytes{82'000'000});
  const GradientPlan given = scenario_of({.sync = R"({"kind": "zero1", "bucket": "1 MB"})"}).gradient_sync;
  CHECK(given.bucket_for(1000, Bytes{4}) == Bytes{1'000'000});
  CHECK_THROWS_WITH(scenario_of({.sync = R"({"kind": "zero1", "bucket": "999 kB"})"}),
                    Catch::Contains("gradient_sync.bucket: is 999 kB, expected 0 or at least 1 MB"));
}

TEST_CASE("Buckets that come to more tasks than a machine holds are refused") {
  const auto many = [](const std::string& kind) {
    return scenario_of(
        {.sync = R"({"kind": ")" + kind + R"(", "overlap": true, "bucket": "1 MB"})", .sequences = 960'000});
  };
  CHECK_NOTHROW(many("zero1"));
  CHECK_THROWS_WITH(many("zero2"), Catch::Contains("tasks (60000 microbatches), expected at most 2e+08"));
}

TEST_CASE("A collective that cannot sum for the chosen updater is refused") {
  CHECK_THROWS_WITH(scenario_of({.sync = R"({"kind": "parameter_server"})",
                                 .collectives = R"({"gradients": {"kind": "ring"}})"}),
                    Catch::Contains("collectives.gradients: 'ring' does no reduce"));
  CHECK_THROWS_WITH(scenario_of({.collectives = R"({"gradients": {"kind": "tree"}})"}),
                    Catch::Contains("collectives.gradients: 'tree' does no reduce_scatter"));
  CHECK_NOTHROW(scenario_of(
      {.sync = R"({"kind": "all_reduce"})", .collectives = R"({"gradients": {"kind": "tree"}})"}));
}
