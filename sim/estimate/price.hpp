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

/// How much longer than it is priced the fastest and the slowest rank take to compute. What is between them
/// is interpolated: but for what goes beside calls, time grows with the pace.
struct Paces {
  double least = 1, most = 1;
  bool are_one() const { return least == most; }
  friend bool operator==(const Paces&, const Paces&) = default;
  /// Where a pace is between them.
  double share_of(double pace) const { return are_one() ? 0 : (pace - least) / (most - least); }
};

/// Where in the model programs are: a layer of that number, or an end of the model (-1), whose block is then
/// `times.attention`.
struct PricedPlace {
  std::int64_t layer = -1;
  const LayerTimes& times;
};

/// Seconds of acts one after the other, by who is busy with them.
struct WorkSeconds {
  double forward = 0, backward = 0;            ///< of compute at pace 1
  double forward_sent = 0, backward_sent = 0;  ///< of calls
  WorkSeconds& operator+=(const WorkSeconds& more);
  friend bool operator==(const WorkSeconds&, const WorkSeconds&) = default;
};

/// The programs of a layer or an end alone.
struct AloneTimes {
  std::array<PassTimes, 2> passes{};  ///< at both paces
  PassTimes issue{};                  ///< of the host
  WorkSeconds work;
};

/// Prices of acts in a scenario, of the busiest rank. Loads are even.
class Prices {
 public:
  Prices(const Scenario& scenario, TrafficTimes& traffic) : scenario_(scenario), traffic_(traffic) {}

  /// From now on communication takes that much longer beside compute.
  void slow_communication(double beside_compute) { beside_compute_ = beside_compute; }

  ActPrice of(const Act& act, const PricedPlace& place, const DivisionGroups& groups) const;
  std::vector<ActPrice> of(std::span<const Act> acts, const PricedPlace& place,
                           const DivisionGroups& groups) const;
  /// What the host takes to issue acts.
  Time issue(std::span<const Act> acts, const PricedPlace& place) const;
  /// How long acts that are priced take, one pass by itself.
  Time alone(std::span<const Act> acts, std::span<const ActPrice> prices, double pace);
  /// Each pass of the programs alone, at both paces.
  AloneTimes alone(const Programs& programs, const PricedPlace& place, const DivisionGroups& groups,
                   const Paces& paces);

 private:
  /// A row of a ring.
  Time row(const Priced& acts, double pace);
  HostPath path(Pass pass, std::span<const Act> acts, std::span<const ActPrice> prices,
                const PricedPlace& place) const;
  CallTime call(const Act& act, const PricedPlace& place, const DivisionGroups& groups) const;

  const Scenario& scenario_;
  TrafficTimes& traffic_;
  double beside_compute_ = 1;
  Play play_;
  std::vector<ActPrice> prices_;  // scratch
};

}  // namespace moesim
