#include "sim/layer/issue.hpp"

namespace moesim {

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
