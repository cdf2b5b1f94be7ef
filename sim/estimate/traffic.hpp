// What communication takes alone on the fabric, asked often: remembered by who takes part, and by size.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "sim/collective/link_loads.hpp"
#include "sim/estimate/division.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/work/exchange.hpp"

namespace moesim {

/// What communication takes that has the fabric to itself, in picoseconds.
struct CallTime {
  double latency = 0;
  double bytes = 0;  ///< after the latency
  double group = 0;  ///< the same of one group alone, where groups of an exchange meet; else as `bytes`
  double sent = 0;   ///< bytes that each rank sends, in the mean
  double seconds() const { return (latency + bytes) * 1e-12; }
};

/// How often a size is looked at by itself.
enum class Sizing : std::uint8_t {
  interpolated,  ///< once where the algorithm takes latency and bytes over a rate, else at powers of two
  exact,         ///< always, and with all groups
};

/// Times of communication that has the fabric to itself.
class TrafficTimes {
 public:
  explicit TrafficTimes(const Scenario& scenario, Sizing sizing = Sizing::interpolated);

  /// Remembers so many groups, as device lists that `make(number, list)` fills in. Unless sizes are exact,
  /// those that share a node with the first stand for all.
  template <class Make>
  GroupSet add(std::size_t count, Make make);
  std::int64_t group_size(GroupSet set) const { return sets_[set].size; }
  /// Rows of the busiest of so many ranks over their mean, at the scenario's spread.
  double busiest(std::int64_t ranks);
  /// An operation on that many bytes.
  CallTime operation(GroupSet set, Operation operation, const Collective& collective, double bytes);
  double seconds(GroupSet set, Operation kind, const Collective& collective, double bytes) {
    return operation(set, kind, collective, bytes).seconds();
  }
  /// An exchange of a layer, every rank sending that many rows, and the busiest more.
  /// Throws InputError where the algorithm cannot serve the groups.
  CallTime exchange(GroupSet set, const Experts& experts, Leg leg, double rows, bool padded);

 private:
  static constexpr std::size_t powers = 61;  // of two
  struct Curve {
    Operation operation;
    const Collective* collective;
    bool grows_evenly = true;
    CallTime always = {};                                    ///< where it does: of some bytes
    std::array<std::optional<CallTime>, powers> known = {};  ///< where it does not
  };
  struct Exchange {
    Experts experts;
    Leg leg;
    bool padded;
    bool grows_evenly = true;
    std::map<double, CallTime> known = {};  ///< by rows
  };
  struct Set {
    std::vector<std::vector<DeviceId>> groups;
    std::int64_t size = 1;
    std::vector<Curve> curves;
    std::vector<Exchange> exchanges;
  };

  void mark_near(const std::vector<DeviceId>& first);
  bool is_counted(const std::vector<DeviceId>& group) const;
  GroupSet add_counted(std::vector<std::vector<DeviceId>> groups);
  Curve& curve(Set& set, Operation operation, const Collective& collective);
  const CallTime& at_power(const Set& set, Curve& curve, std::size_t power);
  static std::vector<Request> requests_of(const Set& set, Operation operation, std::int64_t bytes);
  std::vector<Request> requests_of(const Set& set, const Exchange& exchange, double rows);
  const Collective& collective_of(const Exchange& exchange) const;
  Traffic planned(const Set& set, const Exchange& exchange, double rows);
  const CallTime& exchange_of(const Set& set, Exchange& exchange, double rows);
  CallTime alone(const std::vector<Request>& requests, const Collective& collective, bool wants_groups);

  const Scenario& scenario_;
  bool compute_slows_;  ///< whether a communication is longer beside compute: then of each group alone, too
  Sizing sizing_;
  struct Busiest {
    double spread = 0;
    std::int64_t ranks = 1;
    double over_mean = 1;
  } busiest_;  // that was asked for last
  std::vector<Set> sets_;
  std::map<std::vector<DeviceId>, GroupSet> known_;
  std::vector<std::uint8_t> is_near_;  // by node: scratch
  LinkLoads loads_;
  Reaches reaches_;
};

template <class Make>
GroupSet TrafficTimes::add(std::size_t count, Make make) {
  std::vector<std::vector<DeviceId>> groups(1);
  make(0, groups[0]);
  mark_near(groups[0]);
  std::vector<DeviceId> next;
  for (std::size_t i = 1; i < count; ++i) {
    next.clear();
    make(i, next);
    if (is_counted(next)) groups.push_back(next);
  }
  return add_counted(std::move(groups));
}

}  // namespace moesim
