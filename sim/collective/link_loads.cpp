#include "sim/collective/link_loads.hpp"

#include <algorithm>

namespace moesim {

std::vector<LinkBytes> bytes_by_link(std::span<const Flow> flows, const Fabric& fabric) {
  std::vector<LinkBytes> all;
  std::vector<LinkId> links;
  for (const Flow& flow : flows) {
    if (flow.from == flow.to || flow.bytes <= 0) continue;
    const std::uint32_t ways = fabric.ways(flow.from, flow.to);
    links.clear();
    for (std::uint32_t way = 0; way < ways; ++way) fabric.route(flow.from, flow.to, links, way);
    for (const LinkId link : links) all.push_back({link, flow.bytes / ways});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const LinkBytes& a, const LinkBytes& b) { return a.link < b.link; });
  std::size_t last = 0;
  for (std::size_t i = 1; i < all.size(); ++i) {
    if (all[i].link == all[last].link)
      all[last].bytes += all[i].bytes;
    else
      all[++last] = all[i];
  }
  all.resize(all.empty() ? 0 : last + 1);
  return all;
}

LinkLoads::LinkLoads(const Fabric& fabric)
    : fabric_(fabric), work_(fabric.links().size()), routes_{Routes(fabric), Routes(fabric)} {
  for (const Link& link : fabric.links()) is_nvlink_.push_back(link.link_class == LinkClass::nvlink ? 1 : 0);
}

void LinkLoads::begin_group() {
  ++group_;
  touched_by_group_.clear();
}

LinkLoads::Sums LinkLoads::add(const Traffic& traffic, const Journey& journey, FlowWatcher* watcher) {
  const double nvlink = traffic.nvlink_efficiency > 0 ? traffic.nvlink_efficiency : traffic.efficiency;
  const Way way{.efficiency = {nvlink / journey.busiest, traffic.efficiency / journey.busiest},
                .routes = &routes_[journey.returns ? 1 : 0],
                .watcher = watcher};
  Sums sums;
  for (const Flow& flow : traffic.flows)
    add(journey.returns ? Flow{flow.to, flow.from, flow.bytes} : flow, way, sums);
  for (const Exchange& exchange : traffic.exchanges) add(exchange, way, sums);
  return sums;
}

void LinkLoads::add(const Flow& flow, const Way& way, Sums& sums) {
  ++sums.flows;
  if (flow.from == flow.to) return;
  std::uint32_t ways = 1;  // also of a flow without bytes: routes are remembered by their place in the order
  for (std::uint32_t number = 0; number < ways; ++number) {
    const Route route = way.routes->next(flow.from, flow.to, number);
    ways = route.ways;
    if (flow.bytes <= 0) continue;
    const double share = flow.bytes / ways;
    if (route.leaves) sums.sent += share;
    if (route.arrives) sums.received += share;
    const double on_nvlink = share / way.efficiency.nvlink;
    const double on_other = share / way.efficiency.other;
    for (const LinkId link : route.links) add(link, share, is_nvlink_[link] != 0 ? on_nvlink : on_other);
    if (way.watcher == nullptr) continue;
    works_of_way_.clear();
    for (const LinkId link : route.links)
      works_of_way_.push_back({link, share, is_nvlink_[link] != 0 ? on_nvlink : on_other});
    way.watcher->way(flow, 1.0 / ways, works_of_way_);
  }
}

/// By the fabric's own arithmetic where it has one for the group, else flow by flow.
void LinkLoads::add(const Exchange& exchange, const Way& way, Sums& sums) {
  const auto flows = static_cast<double>(exchange.flow_count());
  if (exchange.bytes <= 0) {
    sums.flows += flows;
    return;
  }
  load_of_exchange_.assign(work_.size(), 0);
  const double efficiency = way.efficiency.other;
  if (way.watcher == nullptr && way.efficiency.nvlink == efficiency &&
      fabric_.add_all_to_all(exchange.group, exchange.bytes / efficiency, load_of_exchange_)) {
    for (LinkId link = 0; link < load_of_exchange_.size(); ++link) {
      const double load = load_of_exchange_[link];
      if (load > 0) add(link, load * efficiency, load);
    }
    sums.flows += flows;
    sums.sent += flows * exchange.bytes;
    sums.received += flows * exchange.bytes;
    return;
  }
  for (const DeviceId from : exchange.group) {
    for (const DeviceId to : exchange.group) {
      if (from != to) add(Flow{from, to, exchange.bytes}, way, sums);
    }
  }
}

void LinkLoads::add(LinkId link, double bytes, double load) {
  Work& work = work_[link];
  const bool is_first = work.load == 0;
  if (is_first) touched_.push_back(link);
  if (is_first || work.group != group_) {
    meets_ = meets_ || !is_first;
    work.group = group_;
    touched_by_group_.push_back(link);
  }
  work.bytes += bytes;
  work.load += load;
}

double LinkLoads::seconds() const {
  double longest = 0;
  for (const LinkId link : touched_)
    longest = std::max(longest, work_[link].load / fabric_.link(link).rate.count);
  return longest;
}

void LinkLoads::take(std::vector<LinkWork>& works) {
  std::sort(touched_.begin(), touched_.end());
  works.clear();
  for (const LinkId link : touched_) works.push_back({link, work_[link].bytes, work_[link].load});
  clear();
}

void LinkLoads::clear() {
  for (const LinkId link : touched_) work_[link] = {};
  touched_.clear();
  touched_by_group_.clear();
  meets_ = false;
  for (Routes& routes : routes_) routes.restart();
}

}  // namespace moesim
