// The parts of a communication whose bytes do not all advance at one rate.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "sim/collective/collective.hpp"
#include "sim/engine/engine.hpp"
#include "sim/graph/task_graph.hpp"

namespace moesim {

/// Collects the flows of one pattern into parts as fine as an engine asks for; keeps nothing for `coflow`.
class Parts {
 public:
  explicit Parts(FlowGrain grain) : grain_(grain) {}
  bool wants_flows() const { return grain_ != FlowGrain::coflow; }
  /// A share of a flow, with what it puts on each link of its route.
  void add(const Flow& flow, double share, std::span<const LinkLoad> loads, std::uint32_t group);
  /// Adds the parts to the pattern that was added last, and forgets them. One part alone is none. Appends the
  /// group of each part to `groups`, which may be null.
  void write(GraphBuilder& builder, PatternId whole, std::vector<std::uint32_t>* groups);

 private:
  struct Part {
    double bytes = 0;
    double flows = 0;
    std::uint32_t group = 0;
    std::vector<LinkLoad> loads = {};
  };

  FlowGrain grain_;
  std::vector<Part> parts_;
  std::unordered_map<std::uint64_t, std::size_t> part_of_;  // by sender, or by sender and receiver
};

}  // namespace moesim
