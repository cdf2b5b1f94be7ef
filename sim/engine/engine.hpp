// Runs a graph: decides who shares what, and so when things happen.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "models/config/family.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"

namespace moesim {

/// What of a communication advances at one rate.
enum class FlowGrain : std::uint8_t {
  coflow,  ///< all its bytes
  port,    ///< the bytes that one device sends
  pair,    ///< the bytes from one device to another
};
inline constexpr std::string_view flow_grain_names[] = {"coflow", "port", "pair"};

/// Reads "flows".
FlowGrain read_flow_grain(Reader& reader);

/// An engine. A family: all members run the same graphs.
class Engine {
 public:
  virtual ~Engine() = default;
  /// Runs every task once, none before its predecessors have ended. Pure: same graph, same timeline.
  virtual Timeline run(const TaskGraph& graph) const = 0;
  /// What a graph for this engine has to tell apart. Flows take memory: parts are in a graph only on demand.
  virtual FlowGrain flows() const { return FlowGrain::coflow; }
  /// Whether communications that use one link at a time get in each other's way.
  virtual bool shares_links() const { return true; }
};

/// Throws RunError: a task that starts at `now` and takes `span` ends beyond the longest time.
[[noreturn]] void fail_too_long(Time now, Time span);

/// The time `span` after `now`. Throws RunError beyond the longest time.
inline Time after(Time now, Time span) {
  if (span > longest_time - now) fail_too_long(now, span);
  return now + span;
}

/// Throws RunError where fewer tasks ran than there are, naming some that wait; `waiting` counts for each
/// task the predecessors that have not ended.
void check_finished(const TaskGraph& graph, std::size_t finished, std::span<const std::uint32_t> waiting);

/// The members of the family.
Register<Engine> engines();

}  // namespace moesim
