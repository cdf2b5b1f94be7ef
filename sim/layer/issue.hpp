// The order in which a rank issues the programs of its passes, as lowering, the estimate and memory have it.
#pragma once

#include <algorithm>
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
  std::int64_t first_place = 0;  ///< of its first layer, where it is only a part of a stage
};

/// Of one of the stages into which so many layers each go.
StageContent content_of(const std::vector<std::int64_t>& layers_per_stage, std::size_t stage);

/// A program, or a segment of it.
struct Issued {
  bool is_backward = false;       ///< of a pair: the backward's
  Activity end = Activity::none;  ///< embedding or head; none: of a layer
  std::int64_t layer = -1;        ///< of the model
  std::int64_t place = 0;         ///< of the layer in its stage
  std::optional<Segment> segment{};
};

/// The direction of a pass through a stage.
struct Way {
  const StageContent& stage;
  bool is_backward;

  bool has_first_end() const { return is_backward ? stage.has_head : stage.has_embedding; }
  bool has_last_end() const { return is_backward ? stage.has_embedding : stage.has_head; }
  Issued first_end() const {
    return {.is_backward = is_backward, .end = is_backward ? Activity::head : Activity::embedding};
  }
  Issued last_end() const {
    return {.is_backward = is_backward, .end = is_backward ? Activity::embedding : Activity::head};
  }
  Issued layer(std::size_t i) const {
    const std::size_t place = is_backward ? stage.layers - 1 - i : i;
    return {.is_backward = is_backward,
            .layer = static_cast<std::int64_t>(stage.first_layer + place),
            .place = stage.first_place + static_cast<std::int64_t>(place)};
  }
};

/// Visits what a pass that has the rank to itself issues, in order.
template <class Visit>
void visit_issued(const StageContent& stage, Pass pass, Visit visit) {
  const Way way{stage, pass != Pass::forward};
  if (way.has_first_end()) visit(way.first_end());
  for (std::size_t i = 0; i < stage.layers; ++i) visit(way.layer(i));
  if (way.has_last_end()) visit(way.last_end());
}

/// The same of a forward beside a full backward: woven layer by layer, between the ends of the model.
template <class Visit>
void visit_issued_by_pair(const StageContent& forward, const StageContent& backward, Visit visit) {
  const Way ways[] = {{forward, false}, {backward, true}};
  for (const Way& way : ways) {
    if (way.has_first_end()) visit(way.first_end());
  }
  for (std::size_t i = 0; i < std::max(forward.layers, backward.layers); ++i) {
    for (const Woven& next : pair_weave) {
      const Way& way = ways[next.is_backward ? 1 : 0];
      if (i >= way.stage.layers) continue;
      Issued issued = way.layer(i);
      issued.segment = next.segment;
      visit(issued);
    }
  }
  for (const Way& way : ways) {
    if (way.has_last_end()) visit(way.last_end());
  }
}

/// The same as lists.
std::vector<Issued> issued_by(const StageContent& stage, Pass pass);
std::vector<Issued> issued_by_pair(const StageContent& forward, const StageContent& backward);

}  // namespace moesim
