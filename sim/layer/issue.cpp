#include "sim/layer/issue.hpp"

#include <numeric>

namespace moesim {

StageContent content_of(const std::vector<std::int64_t>& layers_per_stage, std::size_t stage) {
  const auto begin = layers_per_stage.begin();
  const auto first = std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(stage), std::int64_t{0});
  return {.first_layer = static_cast<std::size_t>(first),
          .layers = static_cast<std::size_t>(layers_per_stage[stage]),
          .has_embedding = stage == 0,
          .has_head = stage + 1 == layers_per_stage.size()};
}

std::vector<Issued> issued_by(const StageContent& stage, Pass pass) {
  std::vector<Issued> all;
  visit_issued(stage, pass, [&](const Issued& issued) { all.push_back(issued); });
  return all;
}

std::vector<Issued> issued_by_pair(const StageContent& forward, const StageContent& backward) {
  std::vector<Issued> all;
  all.reserve(pair_weave.size() * std::max(forward.layers, backward.layers) + 4);
  visit_issued_by_pair(forward, backward, [&](const Issued& issued) { all.push_back(issued); });
  return all;
}

}  // namespace moesim
