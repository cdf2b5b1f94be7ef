// The order in which a rank issues the programs of its passes, as lowering, the estimate and memory have it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "sim/layer/program.hpp"

namespace moesim {

/// The layers of a stage, and whether it holds an end of the model.
struct StageContent {
  std::size_t first_layer = 0, layers = 0;
  bool has_embedding = false, has_head = false;
};

/// A program, or a segment of it.
struct Issued {
  bool is_backward = false;  ///< of a pair: the backward's
  Work end = Work::none;     ///< embedding or head; none: of a layer
  std::int64_t layer = -1;   ///< of the model
  std::optional<Segment> segment{};
};

/// A pass that has the rank to itself.
std::vector<Issued> issued_by(const StageContent& stage, Pass pass);
/// A forward beside a full backward: woven layer by layer, between the ends of the model.
std::vector<Issued> issued_by_pair(const StageContent& forward, const StageContent& backward);

}  // namespace moesim
