#include "sim/layer/issue.hpp"

#include <algorithm>

namespace moesim {
namespace {

/// One of the two passes on its way through a stage.
struct Way {
  const StageContent& stage;
  bool is_backward;

  bool has_first_end() const { return is_backward ? stage.has_head : stage.has_embedding; }
  bool has_last_end() const { return is_backward ? stage.has_embedding : stage.has_head; }
  Issued first_end() const {
    return {.is_backward = is_backward, .end = is_backward ? Work::head : Work::embedding};
  }
  Issued last_end() const {
    return {.is_backward = is_backward, .end = is_backward ? Work::embedding : Work::head};
  }
  Issued layer(std::size_t i) const {
    const std::size_t number = stage.first_layer + (is_backward ? stage.layers - 1 - i : i);
    return {.is_backward = is_backward, .layer = static_cast<std::int64_t>(number)};
  }
};

}  // namespace

std::vector<Issued> issued_by(const StageContent& stage, Pass pass) {
  const Way way{stage, pass != Pass::forward};
  std::vector<Issued> all;
  if (way.has_first_end()) all.push_back(way.first_end());
  for (std::size_t i = 0; i < stage.layers; ++i) all.push_back(way.layer(i));
  if (way.has_last_end()) all.push_back(way.last_end());
  return all;
}

std::vector<Issued> issued_by_pair(const StageContent& forward, const StageContent& backward) {
  const Way ways[] = {{forward, false}, {backward, true}};
  std::vector<Issued> all;
  for (const Way& way : ways) {
    if (way.has_first_end()) all.push_back(way.first_end());
  }
  for (std::size_t i = 0; i < std::max(forward.layers, backward.layers); ++i) {
    for (const Woven& next : pair_weave) {
      const Way& way = ways[next.is_backward ? 1 : 0];
      if (i >= way.stage.layers) continue;
      all.push_back(way.layer(i));
      all.back().segment = next.segment;
    }
  }
  for (const Way& way : ways) {
    if (way.has_last_end()) all.push_back(way.last_end());
  }
  return all;
}

}  // namespace moesim
