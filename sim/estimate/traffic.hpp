// What communication takes alone on the fabric, asked often: remembered by who takes part, and by size.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "sim/collective/link_loads.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/work/exchange.hpp"

namespace moesim {

/// Groups that communicate at the same time, by the number under which they are remembered.
using GroupSet = std::size_t;

/// Seconds of communication that has the fabric to itself.
class TrafficTimes {
 public:
  explicit TrafficTimes(const Scenario& scenario);

  /// Remembers groups, as device lists. Of many, those that share a node with the first stand for all.
  GroupSet add(std::vector<std::vector<DeviceId>> groups);
  std::int64_t group_size(GroupSet set) const { return sets_[set].size; }
  /// An operation on that many bytes: exact where the algorithm takes latency and bytes over a rate, else
  /// interpolated between powers of two.
  double seconds(GroupSet set, Operation operation, const Collective& collective, double bytes);
  /// A dispatch (`outward`) or combine of a layer, every rank sending that many rows, and the busiest more.
  /// Throws InputError where the algorithm cannot serve the groups.
  double exchange(GroupSet set, const Experts& experts, bool outward, double rows, bool padded);

 private:
  static constexpr std::size_t powers = 61;  // of two
  struct Alone {
    double latency = 0, transfer = 0;
  };
  struct Curve {
    Operation operation;
    const Collective* collective;
    bool grows_evenly = true;
    Alone always = {};                        ///< where it does: of some bytes
    std::array<double, powers> seconds = {};  ///< where it does not; below 0: not known
  };
  struct Exchange {
    Experts experts;
    bool outward, padded;
    bool grows_evenly = true;
    std::map<double, Alone> known = {};  ///< by rows
  };
  struct Set {
    std::vector<std::vector<DeviceId>> groups;
    std::int64_t size = 1;
    std::vector<Curve> curves;
    std::vector<Exchange> exchanges;
  };

  Curve& curve(Set& set, Operation operation, const Collective& collective);
  double at_power(const Set& set, Curve& curve, std::size_t power);
  static std::vector<Request> requests_of(const Set& set, Operation operation, std::int64_t bytes);
  std::vector<Request> requests_of(const Set& set, const Exchange& exchange, double rows);
  const Collective& collective_of(const Exchange& exchange) const;
  Traffic planned(const Set& set, const Exchange& exchange, double rows);
  const Alone& exchange_of(const Set& set, Exchange& exchange, double rows);
  Alone alone(const std::vector<Request>& requests, const Collective& collective);

  const Scenario& scenario_;
  std::vector<Set> sets_;
  std::map<std::vector<DeviceId>, GroupSet> known_;
  LinkLoads loads_;
  Reaches reaches_;
};

}  // namespace moesim
