// A communication by itself as a scenario.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/config/value.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;
using Catch::Matchers::Contains;
using Catch::Matchers::Message;

namespace {

Scenario scenario(const std::string& communication, const std::string& cluster = "h100-8") {
  return read_scenario(
      parse_json(fmt::format(R"({{"cluster": "{}/configs/clusters/{}.json", "communication": {}}})",
                             MOESIM_SOURCE, cluster, communication),
                 "test"));
}

double seconds(const std::string& communication, const std::string& cluster = "h100-8") {
  return to_seconds(simulate(scenario(communication, cluster)).report.step_time);
}

}  // namespace

TEST_CASE("An all-to-all by itself takes what leaves a device over its link's rate, latency on top") {
  // 8 MB for all eight ranks: 7 MB leave, over 450 GB/s x 0.824.
  const double time = seconds(R"({"operation": "all_to_all", "bytes": "8 MB"})");
  CHECK(time == Approx(3.33e-6 + 7e6 / (450e9 * 0.824)).epsilon(1e-6));
}

TEST_CASE("An all-reduce by itself on a ring sends 2 (n-1) / n of the buffer") {
  const double time = seconds(R"({"operation": "all_reduce", "bytes": "80 MB"})");
  CHECK(time == Approx(14 * 3.33e-6 + 80e6 * 14 / 8 / (450e9 * 0.824)).epsilon(1e-6));
}

TEST_CASE("Groups of neighbours communicate at once, and each as fast as one alone") {
  const double two = seconds(R"({"operation": "all_gather", "bytes": "80 MB", "group_size": 4})");
  CHECK(two == Approx(3 * 3.33e-6 + 80e6 * 3 / 4 / (450e9 * 0.824)).epsilon(1e-6));
  const double pairs = seconds(R"({"operation": "point_to_point", "bytes": "37.08 GB"})");
  CHECK(pairs == Approx(3.33e-6 + 0.1).epsilon(1e-6));
}

TEST_CASE("The report of a communication has its bytes and links, and neither passes nor a model") {
  const Report report = simulate(scenario(R"({"operation": "all_to_all", "bytes": "8 MB"})")).report;
  CHECK(report.communications[static_cast<std::size_t>(Activity::dispatch)].bytes == 56'000'000);
  CHECK(report.pipeline_ranks.empty());
  CHECK(report.tokens == 0);
  CHECK(report.memory.empty());
  CHECK(!report.link_classes.empty());
  CHECK(report.breakdown.exposed_communication == report.step_time);
}

TEST_CASE("A communication that cannot be is refused with its place") {
  const auto check = [](const std::string& communication, const std::string& message) {
    CHECK_THROWS_MATCHES(scenario(communication), InputError, Message(message));
  };
  check(R"({"operation": "all_reduce", "bytes": "1 MB", "group_size": 3})",
        "test: communication.group_size: is 3, expected at least 2 and a divisor of 8 devices");
  check(R"({"operation": "point_to_point", "bytes": "1 MB", "group_size": 4})",
        "test: communication.group_size: is 4, expected 2 and a divisor of 8 devices");
  check(R"({"operation": "all_to_all", "bytes": "1 MB", "collective": {"kind": "tree"}})",
        "test: communication.collective: 'tree' does no all_to_all (it does all_reduce)");
  CHECK_THROWS_WITH(scenario(R"({"operation": "all_reduce", "bytes": "1 MB", "sequences": 3})"),
                    Contains("communication.sequences: unknown key"));
}
