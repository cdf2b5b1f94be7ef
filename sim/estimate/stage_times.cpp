// Passes of whole stages: alone, layer by layer, and a forward beside a backward, played through as they are
// woven.
#include <algorithm>

#include "sim/estimate/costs.hpp"

namespace moesim {

const PassTimes& CostTables::alone(std::size_t number, double pace) {
  for (const KnownAlone& known : alone_) {
    if (known.number == number && known.pace == pace) return known.times;
  }
  const Priced& priced = priced_[number];
  alone_.push_back({number, pace, prices_.alone(*priced.programs, priced.place(), groups_, pace)});
  return alone_.back().times;
}

PassTimes CostTables::alone(const StageContent& stage, double pace) {
  PassTimes sum{};
  const auto add = [&](std::size_t number) {
    const PassTimes& more = alone(number, pace);
    for (std::size_t pass = 0; pass < sum.size(); ++pass) sum[pass] += more[pass];
  };
  if (stage.has_embedding) add(embedding_number());
  for (std::size_t i = 0; i < stage.layers; ++i) add(shape_of_layer_[stage.first_layer + i]);
  if (stage.has_head) add(head_number());
  return sum;
}

const CostTables::Priced& CostTables::woven(std::size_t number) {
  Priced& priced = priced_[number];
  if (priced.is_woven) return priced;
  priced.is_woven = true;
  priced.woven_forward = prices_.of(priced.programs->woven_forward.acts, priced.place(), groups_);
  priced.woven_backward = prices_.of(priced.programs->woven_backward.acts, priced.place(), groups_);
  return priced;
}

/// Whether two stages have the same layers and ends.
bool CostTables::is_alike(const StageContent& one, const StageContent& other) const {
  if (one.layers != other.layers || one.has_embedding != other.has_embedding ||
      one.has_head != other.has_head)
    return false;
  const auto shapes = [&](const StageContent& stage) {
    return shape_of_layer_.begin() + static_cast<std::ptrdiff_t>(stage.first_layer);
  };
  return std::equal(shapes(one), shapes(one) + static_cast<std::ptrdiff_t>(one.layers), shapes(other));
}

Time CostTables::pair(const StageContent& forward, const StageContent& backward, double pace) {
  for (const KnownPair& known : pairs_) {
    if (known.pace == pace && is_alike(known.forward, forward) && is_alike(known.backward, backward))
      return known.time;
  }
  pairs_.push_back({forward, backward, pace, play_pair(forward, backward, pace)});
  return pairs_.back().time;
}

/// All of a program, or one segment of it.
void CostTables::issue(bool is_backward, std::size_t number, std::optional<Segment> segment) {
  const Priced& priced = woven(number);
  const Program& program = is_backward ? priced.programs->woven_backward : priced.programs->woven_forward;
  const std::vector<ActPrice>& prices = is_backward ? priced.woven_backward : priced.woven_forward;
  const std::span<const Act> acts = segment ? program.of(*segment) : std::span<const Act>(program.acts);
  const auto first = static_cast<std::size_t>(acts.data() - program.acts.data());
  play_.issue(is_backward ? 1 : 0, {acts, std::span(prices).subspan(first, acts.size())});
}

Time CostTables::play_pair(const StageContent& forward, const StageContent& backward, double pace) {
  play_.begin(pace);
  for (const Issued& issued : issued_by_pair(forward, backward))
    issue(issued.is_backward, number_of(issued.layer, issued.end), issued.segment);
  return play_.end();
}

}  // namespace moesim
