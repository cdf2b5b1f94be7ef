#include "models/routing/expert_draw.hpp"

#include <algorithm>

namespace moesim {

ExpertDraw::ExpertDraw(std::span<const double> popularity)
    : popularity_(popularity), own_(popularity.size(), 1.0), other_(popularity.size(), 0) {
  std::vector<std::size_t> poor;
  std::vector<std::size_t> rich;
  for (std::size_t e = 0; e < own_.size(); ++e) {
    own_[e] = popularity[e] * static_cast<double>(own_.size());
    other_[e] = e;
    (own_[e] < 1 ? poor : rich).push_back(e);
  }
  while (!poor.empty() && !rich.empty()) {
    const std::size_t filled = poor.back();
    const std::size_t giver = rich.back();
    poor.pop_back();
    other_[filled] = giver;
    own_[giver] -= 1 - own_[filled];
    if (own_[giver] < 1) {
      rich.pop_back();
      poor.push_back(giver);
    }
  }
}

std::size_t ExpertDraw::first(RandomStream& random) const {
  const double at = random.uniform() * static_cast<double>(own_.size());
  const std::size_t cell = std::min(static_cast<std::size_t>(at), own_.size() - 1);
  return at - static_cast<double>(cell) < own_[cell] ? cell : other_[cell];
}

std::size_t ExpertDraw::second(std::size_t taken, RandomStream& random) const {
  if (popularity_[taken] <= 0.5) {
    std::size_t drawn = first(random);
    while (drawn == taken) drawn = first(random);
    return drawn;
  }
  // Drawing again would last long: look it up instead.
  double left = random.uniform() * (1 - popularity_[taken]);
  std::size_t last = taken == 0 ? 1 : 0;
  for (std::size_t e = 0; e < popularity_.size(); ++e) {
    if (e == taken) continue;
    last = popularity_[e] > 0 ? e : last;
    left -= popularity_[e];
    if (left < 0) return e;
  }
  return last;
}

}  // namespace moesim
