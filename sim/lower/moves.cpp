#include "sim/lower/moves.hpp"

#include <array>
#include <vector>

#include "sim/lower/communicators.hpp"

namespace moesim {

TaskGraph lower_moves(const Scenario& scenario, std::span<const Flow> flows) {
  std::vector<std::array<DeviceId, 2>> pairs;
  for (const Flow& flow : flows) pairs.push_back({flow.from, flow.to});
  std::vector<Call> calls;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    calls.push_back(
        {{.operation = Operation::point_to_point, .group = pairs[i], .bytes = from_bytes(flows[i].bytes)},
         pairs.front()});
  }
  GraphBuilder builder(1);
  PatternMaker patterns(scenario.fabric(), {scenario.engine->flows(), scenario.engine->shares_links()});
  const ActorId everybody = 0;
  const PatternId pattern = patterns.make(builder, *scenario.collectives.pipeline, calls, {&everybody, 1});
  builder.add_coflow(pattern, {.activity = Activity::parameter});
  std::vector<Rate> rates;
  for (const Link& link : scenario.fabric().links()) rates.push_back(link.rate);
  return std::move(builder).finish(rates);
}

}  // namespace moesim
