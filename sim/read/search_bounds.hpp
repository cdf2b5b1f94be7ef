// What `moesim search` may choose: the part "search" of a scenario.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/base/units.hpp"
#include "models/config/reader.hpp"
#include "models/transformer/layer_ops.hpp"
#include "sim/scenario/layout.hpp"

namespace moesim {

/// A choice of recomputation: its names as a scenario has them, and what they mean.
struct RecomputeChoice {
  std::vector<std::string> names;
  Recompute recompute;
};

/// Values that a search may take. An empty list of sizes: every one that divides the devices (of
/// `microbatch`: every power of two). Other empty lists: the search's defaults.
struct SearchBounds {
  Bytes memory_limit{};  ///< of a device; 0: what the device has
  std::vector<std::int64_t> tensor, pipeline, context, expert, expert_tensor, data, microbatch, chunks;
  std::vector<std::string> schedules, gradient_syncs;
  std::vector<RecomputeChoice> recomputes;
  std::vector<std::vector<Axis>> placements;
  bool empty_stages = false;  ///< stages may be without layers
};

/// Reads the part. Throws InputError for names that nobody knows.
SearchBounds read_search_bounds(Reader reader);

}  // namespace moesim
