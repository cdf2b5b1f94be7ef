// A run in a process of its own, for engines that keep state for the life of a process.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "sim/graph/timeline.hpp"

namespace moesim {

/// Where a run in another process writes the starts and ends of all tasks.
struct Spans {
  std::span<Time> starts, ends;
};

/// The timeline of `tasks` tasks that `run` fills in; it returns the number of events. It runs in a copy of
/// this process, and changes nothing else here. What it throws is thrown here: RunError and bad_alloc as they
/// are, everything else as std::logic_error. Throws RunError where the other process ends before its time.
Timeline run_apart(std::size_t tasks, const std::function<std::uint64_t(const Spans&)>& run);

}  // namespace moesim
