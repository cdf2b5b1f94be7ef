// The parts of a communication whose bytes do not all advance at one rate.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "sim/collective/link_loads.hpp"
#include "sim/engine/engine.hpp"
#include "sim/graph/task_graph.hpp"

namespace moesim {

/// Collects the flows of one pattern into parts as fine as an engine asks for; keeps nothing for `coflow`.
class FlowParts final : public FlowWatcher {
 public:
  explicit FlowParts(FlowGrain grain) : grain_(grain) {}
  bool wants_flows() const { return grain_ != FlowGrain::coflow; }
  /// What comes from now on is of that group of the pattern.
  void begin_group(std::uint32_t group) { group_ = group; }
  void way(const Flow& flow, double share, std::span<const LinkWork> works) override;
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
  std::uint32_t group_ = 0;
  std::vector<Part> parts_;
  std::unordered_map<std::uint64_t, std::size_t> part_of_;  // by sender, or by sender and receiver
};

}  // namespace moesim
