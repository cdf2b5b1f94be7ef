#include "sim/estimate/traffic.hpp"

#include <algorithm>

#include "models/base/spread.hpp"

namespace moesim {
namespace {

// At which times that grow evenly are taken: always the same, so that none depends on what was asked before.
constexpr double some_bytes = 1 << 30, some_rows = 4096;

/// Whether the algorithm takes latency, and bytes over a rate, however much there is.
bool grows_evenly(const Traffic& little, const Traffic& much) {
  return little.latency == much.latency && little.efficiency == much.efficiency &&
         little.nvlink_efficiency == much.nvlink_efficiency;
}

}  // namespace

TrafficTimes::TrafficTimes(const Scenario& scenario)
    : scenario_(scenario), loads_(scenario.fabric()), reaches_(scenario) {}

GroupSet TrafficTimes::add(std::vector<std::vector<DeviceId>> groups) {
  const Fabric& fabric = scenario_.fabric();
  std::vector<std::uint8_t> is_near(fabric.device_count() / fabric.devices_per_node() + 1);
  for (const DeviceId device : groups.front()) is_near[fabric.node_of(device)] = 1;
  std::vector<DeviceId> key{static_cast<DeviceId>(groups.front().size())};
  std::erase_if(groups, [&](const std::vector<DeviceId>& group) {
    return std::none_of(group.begin(), group.end(),
                        [&](DeviceId device) { return is_near[fabric.node_of(device)] == 1; });
  });
  for (const std::vector<DeviceId>& group : groups) key.insert(key.end(), group.begin(), group.end());
  const auto [place, is_new] = known_.try_emplace(std::move(key), sets_.size());
  if (is_new) {
    const auto size = static_cast<std::int64_t>(groups.front().size());
    sets_.push_back({.groups = std::move(groups), .size = size, .curves = {}, .exchanges = {}});
  }
  return place->second;
}

double TrafficTimes::seconds(GroupSet number, Operation operation, const Collective& collective,
                             double bytes) {
  Set& set = sets_[number];
  if (set.size == 1 || bytes <= 0) return 0;
  Curve& known = curve(set, operation, collective);
  if (known.grows_evenly) return known.always.latency + known.always.transfer * (bytes / some_bytes);
  std::size_t power = 1;
  double high = 4;
  for (; high < bytes && power + 2 < powers; ++power) high *= 2;
  const double low = high / 2;
  const double below = at_power(set, known, power);
  const double above = at_power(set, known, power + 1);
  return std::max(0.0, below + (above - below) * (bytes - low) / (high - low));
}

TrafficTimes::Curve& TrafficTimes::curve(Set& set, Operation operation, const Collective& collective) {
  for (Curve& known : set.curves) {
    if (known.operation == operation && known.collective == &collective) return known;
  }
  Curve fresh{.operation = operation, .collective = &collective};
  fresh.seconds.fill(-1);
  const auto planned = [&](std::int64_t bytes) {
    return collective.plan(requests_of(set, operation, bytes).front(), scenario_.fabric());
  };
  fresh.grows_evenly = grows_evenly(planned(1), planned(std::int64_t{1} << 40));
  if (fresh.grows_evenly)
    fresh.always = alone(requests_of(set, operation, static_cast<std::int64_t>(some_bytes)), collective);
  return set.curves.emplace_back(fresh);
}

std::vector<Request> TrafficTimes::requests_of(const Set& set, Operation operation, std::int64_t bytes) {
  std::vector<Request> requests;
  for (const std::vector<DeviceId>& group : set.groups)
    requests.push_back({.operation = operation, .group = group, .bytes = Bytes{bytes}});
  return requests;
}

/// At 2^power bytes.
double TrafficTimes::at_power(const Set& set, Curve& curve, std::size_t power) {
  double& seconds = curve.seconds[power];
  if (seconds >= 0) return seconds;
  const Alone one = alone(requests_of(set, curve.operation, std::int64_t{1} << power), *curve.collective);
  return seconds = one.latency + one.transfer;
}

double TrafficTimes::exchange(GroupSet number, const Experts& experts, bool outward, double rows,
                              bool padded) {
  Set& set = sets_[number];
  if (set.size == 1 || rows <= 0) return 0;
  auto known = std::find_if(set.exchanges.begin(), set.exchanges.end(), [&](const Exchange& e) {
    return e.outward == outward && e.padded == padded && e.experts == experts;
  });
  if (known == set.exchanges.end()) {
    set.exchanges.push_back({.experts = experts, .outward = outward, .padded = padded});
    known = set.exchanges.end() - 1;
    known->grows_evenly = grows_evenly(planned(set, *known, 1), planned(set, *known, 1e9));
  }
  const double busiest = largest_over_mean(scenario_.routing_spread, set.size);
  if (!known->grows_evenly) {
    const Alone one = exchange_of(set, *known, rows);
    return one.latency + one.transfer * busiest;
  }
  const Alone one = exchange_of(set, *known, some_rows);
  return one.latency + one.transfer * busiest * (rows / some_rows);
}

std::vector<Request> TrafficTimes::requests_of(const Set& set, const Exchange& exchange, double rows) {
  const ExchangedRows sent{
      .rows = rows, .tokens = rows / static_cast<double>(exchange.experts.top_k), .padded = exchange.padded};
  return exchange_requests(scenario_, exchange.experts, exchange.outward, sent, set.groups, reaches_);
}

const Collective& TrafficTimes::collective_of(const Exchange& exchange) const {
  const Collectives& all = scenario_.collectives;
  return exchange.outward ? *all.dispatch : *all.combine;
}

Traffic TrafficTimes::planned(const Set& set, const Exchange& exchange, double rows) {
  const std::vector<Request> requests = requests_of(set, exchange, rows);
  return collective_of(exchange).plan(requests.front(), scenario_.fabric());
}

const TrafficTimes::Alone& TrafficTimes::exchange_of(const Set& set, Exchange& exchange, double rows) {
  const auto known = exchange.known.find(rows);
  if (known != exchange.known.end()) return known->second;
  const Alone one = alone(requests_of(set, exchange, rows), collective_of(exchange));
  return exchange.known.emplace(rows, one).first->second;
}

TrafficTimes::Alone TrafficTimes::alone(const std::vector<Request>& requests, const Collective& collective) {
  Alone result;
  loads_.clear();  // of requests before one that was refused
  for (const Request& request : requests) {
    const Traffic traffic = collective.plan(request, scenario_.fabric());
    result.latency = std::max(result.latency, to_seconds(traffic.latency));
    loads_.add(traffic);
  }
  result.transfer = loads_.seconds();
  return result;
}

}  // namespace moesim
