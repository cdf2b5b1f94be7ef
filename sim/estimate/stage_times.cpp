// A forward of a stage beside a backward, played through as they are woven.
#include <algorithm>

#include "models/base/at.hpp"
#include "sim/estimate/costs.hpp"
#include "sim/layer/acts.hpp"
#include "sim/layer/issue.hpp"

namespace moesim {

/// Into priced_.
std::size_t CostTables::number_of(const Issued& issued) const {
  if (issued.end == Activity::none) return shape_of(static_cast<std::size_t>(issued.layer), issued.place);
  return issued.end == Activity::head ? head_number() : embedding_number();
}

const PricedPrograms& CostTables::woven(const Issued& issued) {
  PricedPrograms& priced = priced_[number_of(issued)];
  if (priced.is_woven) return priced;
  priced.is_woven = true;
  priced.woven_forward = prices_.of(priced.programs->woven_forward.acts, priced.place(), groups_);
  priced.woven_backward = prices_.of(priced.programs->woven_backward.acts, priced.place(), groups_);
  if (scenario_.habits().host.is_none()) return priced;
  priced.woven_issue = {prices_.issue(priced.programs->woven_forward.acts, priced.place()),
                        prices_.issue(priced.programs->woven_backward.acts, priced.place())};
  if (issued.end != Activity::none) return priced;
  for (const Woven& part : pair_weave) {
    Issued node = issued;
    node.is_backward = part.is_backward;
    node.segment = part.segment;
    priced.woven_issue[part.is_backward ? 1 : 0] +=
        host_of_node(node, priced.programs->of_pair(part.is_backward), scenario_);
  }
  return priced;
}

/// Whether two stages have the same layers and ends: layers of a kind at the same places.
bool CostTables::is_alike(const StageContent& one, const StageContent& other) const {
  if (one.layers != other.layers || one.has_embedding != other.has_embedding ||
      one.has_head != other.has_head || one.first_place != other.first_place)
    return false;
  const auto shapes = [&](const StageContent& stage) {
    return kind_of_layer_.begin() + static_cast<std::ptrdiff_t>(stage.first_layer);
  };
  return std::equal(shapes(one), shapes(one) + static_cast<std::ptrdiff_t>(one.layers), shapes(other));
}

std::array<Time, 2> CostTables::pair(const StageContent& forward, const StageContent& backward) {
  for (const KnownPair& known : pairs_) {
    if (is_alike(known.forward, forward) && is_alike(known.backward, backward)) return known.times;
  }
  const Time issue = issue_of(forward, false) + issue_of(backward, true);
  const Time least_of_both = std::max({issue, copied_by(forward), copied_by(backward)});
  const auto time = [&](double pace) {
    return std::max(least_of_both, time_of_pair(forward, backward, pace));
  };
  const Time least = time(paces_.least);
  pairs_.push_back({forward, backward, {least, paces_.are_one() ? least : time(paces_.most)}});
  return pairs_.back().times;
}

/// What the host takes to issue a stage in a pair, which then goes on for as long at least.
Time CostTables::issue_of(const StageContent& stage, bool is_backward) {
  Time sum;
  if (scenario_.habits().host.is_none()) return sum;
  visit_issued(stage, is_backward ? Pass::backward : Pass::forward,
               [&](const Issued& issued) { sum += woven(issued).woven_issue[is_backward ? 1 : 0]; });
  return sum;
}

/// All of a program, or one segment of it.
void CostTables::issue(const Issued& issued) {
  const PricedPrograms& priced = woven(issued);
  const Program& program = priced.programs->of_pair(issued.is_backward);
  const std::vector<ActPrice>& prices = issued.is_backward ? priced.woven_backward : priced.woven_forward;
  const std::span<const Act> acts = program.of(issued.segment);
  const auto first = static_cast<std::size_t>(acts.data() - program.acts.data());
  play_.issue(issued.is_backward ? 1 : 0, {acts, std::span(prices).subspan(first, acts.size())});
}

Time CostTables::play(std::span<const Issued> issued, double pace) {
  play_.begin(pace);
  for (const Issued& next : issued) issue(next);
  return play_.end();
}

namespace {

/// Layers of a pair on their way, counted from the first of each pass.
struct Run {
  std::size_t first = 0, count = 0;
};

/// The most in a row in which both passes meet the same shapes.
Run longest_run(const StageContent& forward, const StageContent& backward, auto shape_of) {
  Run longest, run;
  const Way up{forward, false}, down{backward, true};
  const auto is_as_before = [&](std::size_t i) {
    return shape_of(up.layer(i)) == shape_of(up.layer(i - 1)) &&
           shape_of(down.layer(i)) == shape_of(down.layer(i - 1));
  };
  for (std::size_t i = 0; i < std::min(forward.layers, backward.layers); ++i) {
    if (run.count == 0 || !is_as_before(i)) run = {i, 0};
    ++run.count;
    if (run.count > longest.count) longest = run;
  }
  return longest;
}

/// Without that many layers of the run.
std::vector<Issued> shortened(const StageContent& forward, const StageContent& backward, const Run& run,
                              std::size_t less) {
  std::vector<Issued> issued = issued_by_pair(forward, backward);
  std::size_t begin = (forward.has_embedding ? 1 : 0) + (backward.has_head ? 1 : 0);
  begin += run.first * pair_weave.size();
  const auto at = issued.begin() + static_cast<std::ptrdiff_t>(begin);
  issued.erase(at, at + static_cast<std::ptrdiff_t>(less * pair_weave.size()));
  return issued;
}

}  // namespace

/// Unless sizes are exact, layers in a row beyond a few are taken to last as long as the last of these.
Time CostTables::time_of_pair(const StageContent& forward, const StageContent& backward, double pace) {
  constexpr std::size_t few = 3;
  const Run run = longest_run(forward, backward, [this](const Issued& issued) { return number_of(issued); });
  if (sizing_ == Sizing::exact || run.count <= few) return play(issued_by_pair(forward, backward), pace);
  const std::size_t more = run.count - few;
  const Time one = play(shortened(forward, backward, run, more), pace);
  const Time less = play(shortened(forward, backward, run, more + 1), pace);
  return one + (one - less) * static_cast<std::int64_t>(more);
}

}  // namespace moesim
