// What the programs of a layer take: every act priced, and each pass by itself played to its end.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "sim/estimate/division.hpp"
#include "sim/estimate/play.hpp"
#include "sim/estimate/traffic.hpp"
#include "sim/layer/acts.hpp"

namespace moesim {

/// Of passes alone, by Pass.
using PassTimes = std::array<Time, 4>;

/// Where in the model programs are: a layer of that number, or an end of the model (-1), whose block is then
/// `times.attention`.
struct PricedPlace {
  std::int64_t layer = -1;
  const LayerTimes& times;
};

/// Prices of acts in a scenario, of the busiest rank. Loads are even.
class Prices {
 public:
  Prices(const Scenario& scenario, TrafficTimes& traffic) : scenario_(scenario), traffic_(traffic) {}

  ActPrice of(const Act& act, const PricedPlace& place, const DivisionGroups& groups) const;
  std::vector<ActPrice> of(std::span<const Act> acts, const PricedPlace& place,
                           const DivisionGroups& groups) const;
  /// Each pass of the programs alone, where compute takes `pace` times as long.
  PassTimes alone(const Programs& programs, const PricedPlace& place, const DivisionGroups& groups,
                  double pace);

 private:
  CallTime call(const Act& act, const PricedPlace& place, const DivisionGroups& groups) const;

  const Scenario& scenario_;
  TrafficTimes& traffic_;
  Play play_;
};

}  // namespace moesim
