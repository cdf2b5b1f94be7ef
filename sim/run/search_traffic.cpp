#include "sim/run/search_traffic.hpp"

#include <algorithm>
#include <cmath>

#include "sim/scenario/share.hpp"

namespace moesim {

TrafficTimes::TrafficTimes(const Scenario& scenario) : scenario_(scenario) {}

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
  std::size_t power = 1;
  double high = 64;
  for (; high < bytes && power + 2 < powers; ++power) high *= 8;
  const double low = high / 8;
  const double below = at_power(set, known, power);
  const double above = at_power(set, known, power + 1);
  return std::max(0.0, below + (above - below) * (bytes - low) / (high - low));
}

TrafficTimes::Curve& TrafficTimes::curve(Set& set, Operation operation, const Collective& collective) {
  for (Curve& known : set.curves) {
    if (known.operation == operation && known.collective == &collective) return known;
  }
  Curve& fresh = set.curves.emplace_back(Curve{operation, &collective, {}});
  fresh.seconds.fill(-1);
  return fresh;
}

/// At 8^power bytes.
double TrafficTimes::at_power(Set& set, Curve& curve, std::size_t power) {
  double& seconds = curve.seconds[power];
  if (seconds >= 0) return seconds;
  const Bytes bytes{static_cast<std::int64_t>(std::pow(8.0, static_cast<double>(power)))};
  std::vector<Request> requests;
  for (const std::vector<DeviceId>& group : set.groups)
    requests.push_back({.operation = curve.operation, .group = group, .bytes = bytes});
  const Alone one = alone(requests, *curve.collective);
  return seconds = one.latency + one.transfer;
}

double TrafficTimes::exchange(GroupSet number, const Experts& experts, bool outward, double rows,
                              double tokens, bool padded) {
  Set& set = sets_[number];
  if (set.size == 1) return 0;
  auto known = std::find_if(set.exchanges.begin(), set.exchanges.end(), [&](const Exchange& e) {
    return e.outward == outward && e.padded == padded && e.experts == experts;
  });
  if (known == set.exchanges.end()) {
    set.exchanges.push_back(make_exchange(set, experts, outward, rows, tokens, padded));
    known = set.exchanges.end() - 1;
  }
  return known->latency + known->seconds_per_row * rows;
}

/// As Step::make_exchange has it for even loads.
TrafficTimes::Exchange TrafficTimes::make_exchange(const Set& set, const Experts& experts, bool outward,
                                                   double rows, double tokens, bool padded) {
  const Precision precision = outward ? scenario_.precision.dispatch : scenario_.precision.combine;
  const auto reached = [&](std::int64_t blocks) {
    const double each = rows / static_cast<double>(blocks);
    if (padded) return each;
    return std::min(each, tokens * reach(experts, blocks) / static_cast<double>(blocks));
  };
  std::vector<Request> requests;
  for (const std::vector<DeviceId>& group : set.groups) {
    const std::int64_t nodes = nodes_of(group, scenario_.fabric());
    requests.push_back({.operation = Operation::all_to_all,
                        .group = group,
                        .bytes = row_bytes(scenario_.model.hidden, precision),
                        .rows_per_rank = rows / static_cast<double>(set.size),
                        .reached_rows_per_rank = reached(set.size),
                        .reached_rows_per_node = reached(set.size % nodes == 0 ? nodes : set.size)});
  }
  const Collectives& all = scenario_.collectives;
  const Alone one = alone(requests, outward ? *all.dispatch : *all.combine);
  const double busiest = largest_over_mean(scenario_.routing_spread, set.size);
  return {experts, outward, padded, one.latency, one.transfer * busiest / rows};
}

double TrafficTimes::reach(const Experts& experts, std::int64_t blocks) {
  for (const Reach& known : reaches_) {
    if (known.blocks == blocks && known.experts == experts) return known.reach;
  }
  const Router& router = scenario_.router;
  reaches_.push_back({experts, blocks, router.routing->reach(gate_of(experts), blocks, Random(router.seed))});
  return reaches_.back().reach;
}

TrafficTimes::Alone TrafficTimes::alone(const std::vector<Request>& requests, const Collective& collective) {
  const Fabric& fabric = scenario_.fabric();
  loads_.assign(fabric.links().size(), 0);
  Alone result;
  for (const Request& request : requests) {
    const Traffic traffic = collective.plan(request, fabric);
    result.latency = std::max(result.latency, to_seconds(traffic.latency));
    load(traffic);
  }
  for (std::size_t link = 0; link < loads_.size(); ++link)
    result.transfer = std::max(result.transfer, loads_[link] / fabric.links()[link].rate.count);
  return result;
}

void TrafficTimes::load(const Traffic& traffic) {
  const Fabric& fabric = scenario_.fabric();
  const auto add_flow = [&](const Flow& flow) {
    if (flow.bytes <= 0 || flow.from == flow.to) return;
    const std::uint32_t ways = fabric.ways(flow.from, flow.to);
    for (std::uint32_t way = 0; way < ways; ++way) {
      route_.clear();
      fabric.route(flow.from, flow.to, route_, way);
      for (const LinkId link : route_) loads_[link] += flow.bytes / ways / traffic.efficiency;
    }
  };
  for (const Flow& flow : traffic.flows) add_flow(flow);
  for (const auto& exchange : traffic.exchanges) {
    if (exchange.bytes <= 0) continue;
    if (fabric.add_all_to_all(exchange.group, exchange.bytes / traffic.efficiency, loads_)) continue;
    for (const DeviceId from : exchange.group) {
      for (const DeviceId to : exchange.group) add_flow({from, to, exchange.bytes});
    }
  }
}

}  // namespace moesim
