#include "sim/lower/tiers.hpp"

namespace moesim {
namespace {

constexpr double noise = 1e-9;  // of sums

bool is_upper(LinkClass kind) { return kind == LinkClass::leaf_spine || kind == LinkClass::spine_core; }
bool is_below(LinkClass kind, LinkClass upper) {
  return upper == LinkClass::leaf_spine ? kind == LinkClass::infiniband : kind == LinkClass::leaf_spine;
}

/// For each link between switches the links below it that all its traffic takes, or none.
class Tiers {
 public:
  Tiers(const TaskGraph& graph, const Fabric& fabric)
      : graph_(graph),
        fabric_(fabric),
        into_(fabric.vertices().size()),
        out_of_(into_),
        below_(fabric.links().size()) {
    for (LinkId id = 0; id < fabric.links().size(); ++id) {
      into_[fabric.link(id).to].push_back(id);
      out_of_[fabric.link(id).from].push_back(id);
    }
    for (LinkId id = 0; id < fabric.links().size(); ++id) {
      if (!is_upper(fabric.link(id).link_class)) continue;
      below_[id] = at(into_[fabric.link(id).from], id);
      if (below_[id].empty()) below_[id] = at(out_of_[fabric.link(id).to], id);
    }
    carried_.assign(fabric.links().size(), 0);
    for (const Pattern& pattern : graph.pattern_table) compare(pattern);
  }

  bool never_binds(LinkId link) const { return !below_[link].empty(); }

 private:
  /// Those of the candidates that are a tier below, where they are no faster together and bind by themselves.
  std::vector<LinkId> at(const std::vector<LinkId>& candidates, LinkId upper) const {
    std::vector<LinkId> below;
    double rate = 0;
    for (const LinkId id : candidates) {
      if (!is_below(fabric_.link(id).link_class, fabric_.link(upper).link_class)) continue;
      below.push_back(id);
      rate += fabric_.link(id).rate.count;
    }
    return rate <= fabric_.link(upper).rate.count * (1 + noise) ? below : std::vector<LinkId>{};
  }

  /// All that a pattern puts on a link has to be on the links below it.
  void compare(const Pattern& pattern) {
    for (const LinkLoad& load : graph_.link_loads_of(pattern)) carried_[load.link] = load.bytes;
    for (const LinkLoad& load : graph_.link_loads_of(pattern)) {
      double sum = 0;
      bool bind = true;
      for (const LinkId id : below_[load.link]) {
        sum += carried_[id];
        bind = bind && (carried_[id] == 0 || graph_.resource_of_link[id] != nothing);
      }
      if (sum < load.bytes * (1 - noise) || !bind) below_[load.link].clear();
    }
    for (const LinkLoad& load : graph_.link_loads_of(pattern)) carried_[load.link] = 0;
  }

  const TaskGraph& graph_;
  const Fabric& fabric_;
  std::vector<std::vector<LinkId>> into_, out_of_;  // by vertex
  std::vector<std::vector<LinkId>> below_;          // by link
  std::vector<double> carried_;                     // by link, of one pattern
};

}  // namespace

std::vector<bool> never_binding(const TaskGraph& graph, const Fabric& fabric) {
  const Tiers tiers(graph, fabric);
  std::vector<bool> never(graph.capacities.size(), true);
  for (LinkId link = 0; link < graph.resource_of_link.size(); ++link) {
    const std::uint32_t resource = graph.resource_of_link[link];
    if (resource != nothing && !tiers.never_binds(link)) never[resource] = false;
  }
  return never;
}

}  // namespace moesim
