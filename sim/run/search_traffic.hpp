// What communication takes alone on the fabric, asked often: remembered by who takes part, and by size.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "sim/collective/collective.hpp"
#include "sim/scenario/scenario.hpp"

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
  /// An operation on that many bytes. Between powers of eight times are interpolated: exact wherever the
  /// algorithm takes latency and bytes over a rate.
  double seconds(GroupSet set, Operation operation, const Collective& collective, double bytes);
  /// A dispatch (`outward`) or combine of a layer, every rank sending for `tokens` tokens. Of the layer's
  /// routing only its gate counts. Throws InputError where the algorithm cannot serve the groups.
  double exchange(GroupSet set, const Experts& experts, bool outward, double rows, double tokens,
                  bool padded);

 private:
  static constexpr std::size_t powers = 21;  // of eight: to 2^60
  struct Curve {
    Operation operation;
    const Collective* collective;
    std::array<double, powers> seconds;  // below 0: not known
  };
  struct Exchange {
    Experts experts;
    bool outward, padded;
    double latency, seconds_per_row;
  };
  struct Set {
    std::vector<std::vector<DeviceId>> groups;
    std::int64_t size = 1;
    std::vector<Curve> curves;
    std::vector<Exchange> exchanges;
  };
  struct Alone {
    double latency = 0, transfer = 0;
  };

  Curve& curve(Set& set, Operation operation, const Collective& collective);
  double at_power(Set& set, Curve& curve, std::size_t power);
  Exchange make_exchange(const Set& set, const Experts& experts, bool outward, double rows, double tokens,
                         bool padded);
  double reach(const Experts& experts, std::int64_t blocks);
  Alone alone(const std::vector<Request>& requests, const Collective& collective);
  void load(const Traffic& traffic);

  const Scenario& scenario_;
  std::vector<Set> sets_;
  std::map<std::vector<DeviceId>, GroupSet> known_;
  struct Reach {
    Experts experts;
    std::int64_t blocks;
    double reach;
  };
  std::vector<Reach> reaches_;
  std::vector<double> loads_;  // by link
  std::vector<LinkId> route_;
};

}  // namespace moesim
