// What `moesim search` may choose: the part "search" of a scenario.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
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

/// What of a plan a size is of, in the order in which plans are told.
enum class SizePart : std::uint8_t { pipeline, attention, experts, batch };
inline constexpr std::size_t size_part_count = 4;

/// A size as an axis of the search: all that a search knows of it but for the rules that it is under.
struct SizeAxis {
  std::string_view key;       ///< of the part "search", of tables and JSON
  std::string_view set;       ///< the key of a scenario; empty: it follows from others, and is allowed or not
  std::int64_t Sizes::*size;  ///< null: the microbatch
  SizePart part;
  std::string_view help;
};
inline constexpr std::array size_axes{
    SizeAxis{"pipeline", "parallelism.pipeline", &Sizes::pipeline, SizePart::pipeline,
             "pipeline ranks to try (default: every divisor of the devices)"},
    SizeAxis{"tensor", "parallelism.tensor", &Sizes::tensor, SizePart::attention,
             "tensor-parallel sizes to try (default: the same)"},
    SizeAxis{"context", "parallelism.context", &Sizes::context, SizePart::attention,
             "context-parallel sizes to try (default: the same)"},
    SizeAxis{"expert", "parallelism.expert", &Sizes::expert, SizePart::experts,
             "expert-parallel sizes to try (default: the same)"},
    SizeAxis{"expert_tensor", "parallelism.expert_tensor", &Sizes::expert_tensor, SizePart::experts,
             "tensor-parallel sizes of experts to try (default: the same)"},
    SizeAxis{"data", "", &Sizes::data, SizePart::attention, "data-parallel sizes to allow (default: all)"},
    SizeAxis{"microbatch", "batch.microbatch", nullptr, SizePart::batch,
             "sequences of a microbatch to try (default: every power of two)"}};

/// A list of sizes for each of these axes.
using SizeLists = std::array<std::vector<std::int64_t>, size_axes.size()>;

/// Values that a search may take. An empty list of sizes: every one that divides the devices (of
/// `microbatch`: every power of two). Other empty lists: the search's defaults.
struct SearchBounds {
  Bytes memory_limit{};  ///< of a device; 0: what the device has
  SizeLists sizes;
  std::vector<std::int64_t> chunks;
  std::vector<std::string> schedules, gradient_syncs;
  std::vector<RecomputeChoice> recomputes;
  std::vector<std::vector<Axis>> placements;
  bool empty_stages = false;  ///< stages may be without layers
};

/// Reads the part. Throws InputError for names that nobody knows.
SearchBounds read_search_bounds(Reader reader);

}  // namespace moesim
