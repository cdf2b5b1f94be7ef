// What a graph tells apart, as its engine asks for.
#include <catch2/catch.hpp>

#include <map>

#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"

using namespace moesim;

namespace {

TaskGraph graph_of(const std::string& flows) {
  return lower(work_of(
      load_scenario(MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json",
                    {parse_override("batch.sequences=64"), parse_override("engine.flows=" + flows)})));
}

/// The most parts of a pattern.
std::uint32_t most_parts(const TaskGraph& graph) {
  std::uint32_t most = 0;
  for (const Pattern& pattern : graph.pattern_table) most = std::max(most, pattern.part_count);
  return most;
}

}  // namespace

TEST_CASE("Only an engine that asks for flows gets parts: one a sender, or one a pair") {
  CHECK(most_parts(graph_of("coflow")) == 0);
  CHECK(most_parts(graph_of("port")) == 16);  // two groups of eight
  CHECK(most_parts(graph_of("pair")) == 2 * 8 * 7);
}

TEST_CASE("The loads of parts add up to those of their whole, link by link") {
  for (const std::string flows : {"port", "pair"}) {
    const TaskGraph graph = graph_of(flows);
    std::size_t wholes = 0;
    for (const Pattern& whole : graph.pattern_table) {
      if (whole.part_count == 0) continue;
      ++wholes;
      std::map<std::uint32_t, double> bytes;
      for (const Pattern& part : graph.parts_of(whole)) {
        CHECK(part.part_count == 0);
        for (const LinkLoad& load : graph.link_loads_of(part)) bytes[load.link] += load.bytes;
      }
      REQUIRE(bytes.size() == whole.link_load_count);
      for (const LinkLoad& load : graph.link_loads_of(whole)) {
        CHECK(bytes[load.link] == Approx(load.bytes).epsilon(1e-12));
      }
    }
    CHECK(wholes > 5);
  }
}
