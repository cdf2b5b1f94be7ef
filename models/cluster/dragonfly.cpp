// The dragonfly (Kim, Dally, Scott and Abts, "Technology-Driven, Highly-Scalable Dragonfly Topology", ISCA
// 2008): groups of routers that are all joined inside, and groups that are all joined to each other. A
// minimal route crosses one global link, and at most one local link on either side of it.
//
// With p devices a router, a routers a group and h global links a router, g groups need g - 1 <= a h; where
// there is room, each two groups are joined by several links and traffic spreads over them evenly.
#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/cluster/cable.hpp"
#include "models/config/family.hpp"

namespace moesim {
namespace {

struct Sizes {
  std::uint32_t terminals = 1;     ///< p: devices of a router
  std::uint32_t routers = 1;       ///< a: routers of a group
  std::uint32_t global_links = 1;  ///< h: of a router
};

/// Position of the pair {low, high} among all pairs of `count` things, in the order of their first.
std::uint32_t pair_index(std::uint32_t low, std::uint32_t high, std::uint32_t count) {
  return low * count - low * (low + 1) / 2 + high - low - 1;
}

/// Where the layers of so many devices begin among the links. Cable i of a layer has the links first + 2i and
/// first + 2i + 1.
struct Layout {
  std::uint32_t groups, copies;
  LinkId local_link, global_link;

  Layout(const Sizes& sizes, std::uint32_t devices) {
    groups = devices / (sizes.terminals * sizes.routers);
    copies = groups > 1 ? sizes.routers * sizes.global_links / (groups - 1) : 0;
    local_link = 2 * devices;
    global_link = local_link + groups * sizes.routers * (sizes.routers - 1);
  }
};

class Dragonfly final : public Topology {
 public:
  Dragonfly(const Sizes& sizes, double taper, const Cable& nic, const Cable& local)
      : sizes_(sizes), taper_(taper), nic_(nic), local_(local) {}

  Wiring wire(std::uint32_t devices) const override;
  void route(const Wiring& wiring, DeviceId from, DeviceId to, std::vector<LinkId>& links) const override {
    route_way(wiring, from, to, 0, links);
  }
  std::uint32_t ways(const Wiring& wiring, DeviceId from, DeviceId to) const override {
    return group_of(from) == group_of(to) ? 1 : Layout(sizes_, wiring.devices).copies;
  }
  void route_way(const Wiring& wiring, DeviceId from, DeviceId to, std::uint32_t way,
                 std::vector<LinkId>& links) const override;

 private:
  std::uint32_t router_of(DeviceId device) const { return device / sizes_.terminals; }
  std::uint32_t group_of(DeviceId device) const { return router_of(device) / sizes_.routers; }
  /// The router of group `here` that holds the given one of its links to group `there`. Links are dealt out
  /// in the order of the other groups, round after round.
  std::uint32_t exit_of(const Layout& at, std::uint32_t here, std::uint32_t there, std::uint32_t copy) const {
    const std::uint32_t channel = (there < here ? there : there - 1) + copy * (at.groups - 1);
    return here * sizes_.routers + channel / sizes_.global_links;
  }
  void cross_group(const Layout& at, std::uint32_t from, std::uint32_t to, std::vector<LinkId>& links) const;
  void wire_groups(Wiring& wiring, const Layout& at) const;

  Sizes sizes_;
  double taper_;
  Cable nic_, local_;
};

Wiring Dragonfly::wire(std::uint32_t devices) const {
  const std::uint32_t group = sizes_.terminals * sizes_.routers;
  if (devices % group != 0) {
    throw InputError("",
                     fmt::format("is {}, which is no multiple of the {} of a group (devices_per_router {} x "
                                 "routers_per_group {})",
                                 devices, group, sizes_.terminals, sizes_.routers));
  }
  const Layout at(sizes_, devices);
  if (at.groups > 1 && at.copies == 0) {
    throw InputError("", fmt::format("is {}, which makes {} groups, expected at most {}: one more than the "
                                     "global links of a group (routers_per_group {} x "
                                     "global_links_per_router {})",
                                     devices, at.groups, sizes_.routers * sizes_.global_links + 1,
                                     sizes_.routers, sizes_.global_links));
  }
  Wiring wiring{.devices = devices, .devices_per_node = 1, .vertices = {}, .links = {}};
  for (DeviceId device = 0; device < devices; ++device)
    wiring.vertices.push_back({.name = fmt::format("gpu {}", device), .node = device});
  for (std::uint32_t router = 0; router < at.groups * sizes_.routers; ++router) {
    wiring.vertices.push_back(
        {.name = fmt::format("group {} router {}", router / sizes_.routers, router % sizes_.routers)});
  }
  for (DeviceId device = 0; device < devices; ++device)
    lay(wiring, nic_, device, devices + router_of(device));
  wire_groups(wiring, at);
  return wiring;
}

/// Local links between the routers of each group, then global links between each two groups.
void Dragonfly::wire_groups(Wiring& wiring, const Layout& at) const {
  const std::uint32_t first = wiring.devices;
  for (std::uint32_t group = 0; group < at.groups; ++group) {
    const std::uint32_t base = first + group * sizes_.routers;
    for (std::uint32_t low = 0; low < sizes_.routers; ++low) {
      for (std::uint32_t high = low + 1; high < sizes_.routers; ++high)
        lay(wiring, local_, base + low, base + high);
    }
  }
  ensure(wiring.links.size() == at.global_link, "global links are numbered as routes expect");
  if (at.groups == 1) return;
  const double devices = sizes_.terminals * sizes_.routers;
  const Rate rate = nic_.rate * (devices / (taper_ * at.copies * (at.groups - 1)));
  const Cable global{LinkClass::global, rate, local_.up, local_.down};
  for (std::uint32_t low = 0; low < at.groups; ++low) {
    for (std::uint32_t high = low + 1; high < at.groups; ++high) {
      for (std::uint32_t copy = 0; copy < at.copies; ++copy)
        lay(wiring, global, first + exit_of(at, low, high, copy), first + exit_of(at, high, low, copy));
    }
  }
}

/// Appends the local link from one router of a group to another; nothing for a router to itself.
void Dragonfly::cross_group(const Layout& at, std::uint32_t from, std::uint32_t to,
                            std::vector<LinkId>& links) const {
  if (from == to) return;
  const std::uint32_t a = sizes_.routers;
  const std::uint32_t low = std::min(from, to) % a;
  const std::uint32_t high = std::max(from, to) % a;
  const std::uint32_t cable = from / a * (a * (a - 1) / 2) + pair_index(low, high, a);
  links.push_back(at.local_link + 2 * cable + (from < to ? 0 : 1));
}

void Dragonfly::route_way(const Wiring& wiring, DeviceId from, DeviceId to, std::uint32_t way,
                          std::vector<LinkId>& links) const {
  if (from == to) return;
  const Layout at(sizes_, wiring.devices);
  const std::uint32_t here = group_of(from);
  const std::uint32_t there = group_of(to);
  links.push_back(2 * from);
  if (here == there) {
    cross_group(at, router_of(from), router_of(to), links);
  } else {
    const std::uint32_t pair = pair_index(std::min(here, there), std::max(here, there), at.groups);
    cross_group(at, router_of(from), exit_of(at, here, there, way), links);
    links.push_back(at.global_link + 2 * (pair * at.copies + way) + (here < there ? 0 : 1));
    cross_group(at, exit_of(at, there, here, way), router_of(to), links);
  }
  links.push_back(2 * to + 1);
}

std::unique_ptr<const Topology> make(Reader& reader) {
  Sizes sizes;
  sizes.terminals = read_count(reader, "devices_per_router", "p of the paper", 4);
  // a = 2p = 2h balances the load of local and global links: the paper, section 3.
  sizes.routers = read_count(reader, "routers_per_group", "a of the paper; a = 2p = 2h is balanced", 8);
  sizes.global_links = read_count(reader, "global_links_per_router", "h of the paper", 4);
  // As in a fat tree: Insights into DeepSeek-V3 (arXiv 2505.09343), table 5.
  const Cable nic = read_nic(reader, LinkClass::infiniband, Time{2'800'000});
  const Time latency = reader.time({.name = "switch_latency",
                                    .help = "of each router after the first, its cable included",
                                    .fallback = Time{450'000}});
  const double local = reader.number({.name = "local_ratio",
                                      .help = "rate of a cable inside a group over that of a NIC",
                                      .fallback = 1.0,
                                      .at_least = 0.01,
                                      .at_most = 100.0});
  const double taper =
      read_taper(reader, "taper",
                 "capacity of a group towards its devices over that of its global links; 1 blocks nothing");
  return std::make_unique<Dragonfly>(sizes, taper, nic,
                                     Cable{LinkClass::local, nic.rate * local, latency, latency});
}

}  // namespace

extern constexpr Entry<Topology> dragonfly_topology{
    .name = "dragonfly",
    .sentence = "groups of routers, all joined inside and all joined to each other; minimal routes",
    .make = make};

}  // namespace moesim
