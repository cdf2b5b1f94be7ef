#include "sim/estimate/traffic.hpp"

#include <algorithm>

#include "models/base/spread.hpp"

namespace moesim {
namespace {

// At which times that grow evenly are taken: always the same, so that none depends on what was asked before.
constexpr double some_bytes = 1 << 30, some_rows = 4096;

/// With so many times as many bytes.
CallTime grown(const CallTime& time, double factor) {
  return {.latency = time.latency,
          .bytes = time.bytes * factor,
          .group = time.group * factor,
          .sent = time.sent * factor};
}

CallTime between(const CallTime& a, const CallTime& b, double share) {
  const auto at = [&](double from, double to) { return std::max(0.0, from + (to - from) * share); };
  return {at(a.latency, b.latency), at(a.bytes, b.bytes), at(a.group, b.group), at(a.sent, b.sent)};
}

/// Whether the algorithm takes latency, and bytes over a rate, however much there is.
bool grows_evenly(const Traffic& little, const Traffic& much) {
  return little.latency == much.latency && little.efficiency == much.efficiency &&
         little.nvlink_efficiency == much.nvlink_efficiency;
}

}  // namespace

TrafficTimes::TrafficTimes(const Scenario& scenario, Sizing sizing)
    : scenario_(scenario),
      compute_slows_(scenario.collectives.slowed_by_compute > 1 ||
                     slows_communication(scenario.cluster->device, scenario.collectives.held())),
      sizing_(sizing),
      loads_(scenario.fabric()),
      reaches_(scenario) {}

double TrafficTimes::busiest(std::int64_t ranks) {
  const double spread = scenario_.routing_spread;
  if (busiest_.ranks != ranks || busiest_.spread != spread)
    busiest_ = {spread, ranks, largest_over_mean(spread, ranks)};
  return busiest_.over_mean;
}

void TrafficTimes::mark_near(const std::vector<DeviceId>& first) {
  const Fabric& fabric = scenario_.fabric();
  is_near_.assign(fabric.device_count() / fabric.devices_per_node() + 1, 0);
  for (const DeviceId device : first) is_near_[fabric.node_of(device)] = 1;
}

bool TrafficTimes::is_counted(const std::vector<DeviceId>& group) const {
  const Fabric& fabric = scenario_.fabric();
  return sizing_ == Sizing::exact || std::any_of(group.begin(), group.end(), [&](DeviceId device) {
           return is_near_[fabric.node_of(device)] == 1;
         });
}

GroupSet TrafficTimes::add_counted(std::vector<std::vector<DeviceId>> groups) {
  std::vector<DeviceId> key{static_cast<DeviceId>(groups.front().size())};
  for (const std::vector<DeviceId>& group : groups) key.insert(key.end(), group.begin(), group.end());
  const auto [place, is_new] = known_.try_emplace(std::move(key), sets_.size());
  if (is_new) {
    const auto size = static_cast<std::int64_t>(groups.front().size());
    sets_.push_back({.groups = std::move(groups), .size = size, .curves = {}, .exchanges = {}});
  }
  return place->second;
}

CallTime TrafficTimes::operation(GroupSet number, Operation operation, const Collective& collective,
                                 double bytes) {
  Set& set = sets_[number];
  if (set.size == 1 || bytes <= 0) return {};
  if (sizing_ == Sizing::exact)
    return alone(requests_of(set, operation, static_cast<std::int64_t>(bytes)), collective, compute_slows_);
  Curve& known = curve(set, operation, collective);
  if (known.grows_evenly) return grown(known.always, bytes / some_bytes);
  std::size_t power = 1;
  double high = 4;
  for (; high < bytes && power + 2 < powers; ++power) high *= 2;
  const double low = high / 2;
  const CallTime below = at_power(set, known, power);
  return between(below, at_power(set, known, power + 1), (bytes - low) / (high - low));
}

TrafficTimes::Curve& TrafficTimes::curve(Set& set, Operation operation, const Collective& collective) {
  for (Curve& known : set.curves) {
    if (known.operation == operation && known.collective == &collective) return known;
  }
  Curve fresh{.operation = operation, .collective = &collective};
  const auto planned = [&](std::int64_t bytes) {
    return collective.plan(requests_of(set, operation, bytes).front(), scenario_.fabric());
  };
  fresh.grows_evenly = grows_evenly(planned(1), planned(std::int64_t{1} << 40));
  if (fresh.grows_evenly)
    fresh.always =
        alone(requests_of(set, operation, static_cast<std::int64_t>(some_bytes)), collective, compute_slows_);
  return set.curves.emplace_back(fresh);
}

std::vector<Request> TrafficTimes::requests_of(const Set& set, Operation operation, std::int64_t bytes) {
  std::vector<Request> requests;
  for (const std::vector<DeviceId>& group : set.groups)
    requests.push_back({.operation = operation, .group = group, .bytes = Bytes{bytes}});
  return requests;
}

/// At 2^power bytes.
const CallTime& TrafficTimes::at_power(const Set& set, Curve& curve, std::size_t power) {
  std::optional<CallTime>& known = curve.known[power];
  if (!known)
    known =
        alone(requests_of(set, curve.operation, std::int64_t{1} << power), *curve.collective, compute_slows_);
  return *known;
}

CallTime TrafficTimes::exchange(GroupSet number, const Experts& experts, Leg leg, double rows, bool padded) {
  Set& set = sets_[number];
  if (set.size == 1 || rows <= 0) return {};
  auto known = std::find_if(set.exchanges.begin(), set.exchanges.end(), [&](const Exchange& e) {
    return e.leg == leg && e.padded == padded && e.experts == experts;
  });
  if (known == set.exchanges.end()) {
    set.exchanges.push_back({.experts = experts, .leg = leg, .padded = padded});
    known = set.exchanges.end() - 1;
    known->grows_evenly = grows_evenly(planned(set, *known, 1), planned(set, *known, 1e9));
  }
  const double more = busiest(set.size);
  if (!known->grows_evenly || sizing_ == Sizing::exact) return grown(exchange_of(set, *known, rows), more);
  return grown(exchange_of(set, *known, some_rows), more * (rows / some_rows));
}

std::vector<Request> TrafficTimes::requests_of(const Set& set, const Exchange& exchange, double rows) {
  const ExchangedRows sent{
      .rows = rows, .tokens = rows / static_cast<double>(exchange.experts.top_k), .padded = exchange.padded};
  return exchange_requests(scenario_, exchange.experts, exchange.leg, sent, set.groups, reaches_);
}

const Collective& TrafficTimes::collective_of(const Exchange& exchange) const {
  const Collectives& all = scenario_.collectives;
  return exchange.leg == Leg::home ? *all.combine : *all.dispatch;
}

Traffic TrafficTimes::planned(const Set& set, const Exchange& exchange, double rows) {
  const std::vector<Request> requests = requests_of(set, exchange, rows);
  return collective_of(exchange).plan(requests.front(), scenario_.fabric());
}

const CallTime& TrafficTimes::exchange_of(const Set& set, Exchange& exchange, double rows) {
  const auto known = exchange.known.find(rows);
  if (known != exchange.known.end()) return known->second;
  const CallTime one = alone(requests_of(set, exchange, rows), collective_of(exchange), compute_slows_);
  return exchange.known.emplace(rows, one).first->second;
}

CallTime TrafficTimes::alone(const std::vector<Request>& requests, const Collective& collective,
                             bool wants_groups) {
  CallTime all;
  double ranks = 0;
  loads_.clear();  // of requests before one that was refused
  for (const Request& request : requests) {
    const Traffic traffic = collective.plan(request, scenario_.fabric());
    all.latency = std::max(all.latency, static_cast<double>(traffic.latency.count));
    loads_.begin_group();
    all.sent += loads_.add(traffic).sent;
    ranks += static_cast<double>(request.group.size());
  }
  all.sent /= ranks;
  all.bytes = all.group = loads_.seconds() * 1e12;
  if (!wants_groups || !loads_.meets()) return all;
  all.group = 0;
  for (const Request& request : requests) {
    loads_.clear();
    loads_.add(collective.plan(request, scenario_.fabric()));
    all.group = std::max(all.group, loads_.seconds() * 1e12);
  }
  return all;
}

}  // namespace moesim
