#include "models/cluster/fabric.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"

namespace moesim {

std::uint32_t Topology::ways(const Wiring&, DeviceId, DeviceId) const { return 1; }

void Topology::route_way(const Wiring& wiring, DeviceId from, DeviceId to, std::uint32_t,
                         std::vector<LinkId>& links) const {
  route(wiring, from, to, links);
}

bool Topology::add_all_to_all(const Wiring&, std::span<const DeviceId>, double, std::span<double>) const {
  return false;
}

Fabric::Fabric(std::unique_ptr<const Topology> topology, std::uint32_t devices)
    : topology_(std::move(topology)), wiring_(topology_->wire(devices)) {
  ensure(wiring_.devices == devices && wiring_.vertices.size() >= devices,
         "a wiring has the devices asked for");
  ensure(wiring_.devices_per_node > 0, "a node has a device");
  std::uint64_t places = 1;
  for (const std::uint32_t extent : wiring_.grid) places *= extent;
  ensure(wiring_.grid.empty() || places == devices / wiring_.devices_per_node, "a grid holds the nodes");
  for (const Link& link : wiring_.links) {
    ensure(link.from < wiring_.vertices.size() && link.to < wiring_.vertices.size(),
           "a link joins two vertices");
    ensure(link.rate.count > 0 && link.latency.count >= 0, "a link has a rate above zero and a latency");
  }
}

Fabric::Fabric(const Fabric&) = default;
Fabric& Fabric::operator=(const Fabric&) = default;
Fabric::Fabric(Fabric&&) noexcept = default;
Fabric& Fabric::operator=(Fabric&&) noexcept = default;
Fabric::~Fabric() = default;

void Fabric::route(DeviceId from, DeviceId to, std::vector<LinkId>& links, std::uint32_t way) const {
  if (down_.empty()) return topology_->route_way(wiring_, from, to, way, links);
  std::vector<std::uint32_t> left;
  ways_left(from, to, left);
  if (left.empty()) return route_around(from, to, links);
  topology_->route_way(wiring_, from, to, left[way], links);
}

std::uint32_t Fabric::ways(DeviceId from, DeviceId to) const {
  if (down_.empty()) return topology_->ways(wiring_, from, to);
  std::vector<std::uint32_t> left;
  ways_left(from, to, left);
  return std::max<std::uint32_t>(1, static_cast<std::uint32_t>(left.size()));
}

bool Fabric::add_all_to_all(std::span<const DeviceId> group, double bytes, std::span<double> load) const {
  ensure(load.size() == wiring_.links.size(), "a load has one entry a link");
  return down_.empty() && topology_->add_all_to_all(wiring_, group, bytes, load);
}

Time Fabric::latency(DeviceId from, DeviceId to) const {
  std::vector<LinkId> links;
  route(from, to, links);
  Time sum;
  for (const LinkId id : links) sum += link(id).latency;
  return sum;
}

std::optional<std::uint32_t> Fabric::find_vertex(std::string_view name) const {
  const auto found = std::find_if(wiring_.vertices.begin(), wiring_.vertices.end(),
                                  [&](const Vertex& vertex) { return vertex.name == name; });
  if (found == wiring_.vertices.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - wiring_.vertices.begin());
}

std::vector<LinkId> Fabric::links_between(std::uint32_t from, std::uint32_t to) const {
  std::vector<LinkId> links;
  for (LinkId id = 0; id < wiring_.links.size(); ++id) {
    if (wiring_.links[id].from == from && wiring_.links[id].to == to) links.push_back(id);
  }
  return links;
}

void Fabric::degrade(LinkId link, double rate_left) {
  ensure(rate_left > 0 && rate_left <= 1, "a degraded link has part of its rate left");
  wiring_.links[link].rate = wiring_.links[link].rate * rate_left;
}

void Fabric::take_down(LinkId link) {
  down_.resize(wiring_.links.size(), false);
  down_[link] = true;
}

bool Fabric::is_up(std::span<const LinkId> links) const {
  return std::none_of(links.begin(), links.end(), [&](LinkId id) { return down_[id]; });
}

void Fabric::ways_left(DeviceId from, DeviceId to, std::vector<std::uint32_t>& ways) const {
  std::vector<LinkId> links;
  for (std::uint32_t way = 0; way < topology_->ways(wiring_, from, to); ++way) {
    links.clear();
    topology_->route_way(wiring_, from, to, way, links);
    if (is_up(links)) ways.push_back(way);
  }
}

/// Breadth first, links in their order.
void Fabric::route_around(DeviceId from, DeviceId to, std::vector<LinkId>& links) const {
  constexpr LinkId none = 0xffffffff;
  const std::vector<Link>& all = wiring_.links;
  std::vector<LinkId> by_start(all.size());
  std::vector<std::uint32_t> first(wiring_.vertices.size() + 1, 0);
  for (const Link& link : all) ++first[link.from + 1];
  for (std::size_t v = 1; v < first.size(); ++v) first[v] += first[v - 1];
  std::vector<std::uint32_t> next(first.begin(), first.end() - 1);
  for (LinkId id = 0; id < all.size(); ++id) by_start[next[all[id].from]++] = id;

  std::vector<LinkId> came_by(wiring_.vertices.size(), none);
  std::vector<std::uint32_t> reached{from};
  for (std::size_t i = 0; i < reached.size() && came_by[to] == none; ++i) {
    for (std::uint32_t k = first[reached[i]]; k < first[reached[i] + 1]; ++k) {
      const Link& link = all[by_start[k]];
      if (down_[by_start[k]] || link.to == from || came_by[link.to] != none) continue;
      came_by[link.to] = by_start[k];
      reached.push_back(link.to);
    }
  }
  if (came_by[to] == none) {
    throw RunError(fmt::format("the fabric is cut: no way is left from {} to {}", wiring_.vertices[from].name,
                               wiring_.vertices[to].name));
  }
  const auto start = static_cast<std::ptrdiff_t>(links.size());
  for (std::uint32_t at = to; at != from; at = all[came_by[at]].from) links.push_back(came_by[at]);
  std::reverse(links.begin() + start, links.end());
}

std::int64_t nodes_of(std::span<const DeviceId> group, const Fabric& fabric) {
  std::vector<std::uint32_t> nodes;
  for (const DeviceId device : group) nodes.push_back(fabric.node_of(device));
  std::sort(nodes.begin(), nodes.end());
  return std::unique(nodes.begin(), nodes.end()) - nodes.begin();
}

}  // namespace moesim
