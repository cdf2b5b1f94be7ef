#include "models/routing/reach.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/base/at.hpp"

namespace moesim {
namespace {

constexpr double never = 1e-12, always = 1 - 1e-9;  // chances of experts that no token has, or every one
constexpr double close_enough = 1e-3;               // of a chance
constexpr int most_rounds = 20;

using Sums = std::vector<double>;

/// Those of one expert more.
void add_expert(Sums& sums, double weight) {
  for (std::size_t j = sums.size() - 1; j > 0; --j) sums[j] += weight * sums[j - 1];
}

/// Those of the experts of both.
Sums joined(const Sums& one, const Sums& other) {
  Sums both(one.size(), 0.0);
  for (std::size_t i = 0; i < one.size(); ++i) {
    for (std::size_t j = 0; i + j < both.size(); ++j) both[i + j] += one[i] * other[j];
  }
  return both;
}

/// Of sets with `count` experts of both.
double joined_at(const Sums& one, const Sums& other, std::size_t count) {
  double sum = 0;
  for (std::size_t j = 0; j <= count; ++j) sum += one[j] * other[count - j];
  return sum;
}

Sums none(std::size_t top_k) {
  Sums sums(top_k + 1, 0.0);
  sums[0] = 1;
  return sums;
}

/// Weights whose median is 1: sums of k products stay far from the limits of a double, whatever the largest.
void normalise(std::vector<double>& weights) {
  std::vector<double> sorted = weights;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  const double median = *middle;
  for (double& weight : weights) weight /= median;
}

/// One step to weights under which experts have these chances (Chen, Dempster and Liu, 1994, equation 3).
/// Returns how far the chances of the weights before were off.
double improve(std::vector<double>& weights, std::span<const double> chances, std::size_t top_k) {
  std::vector<Sums> before{none(top_k)};
  for (const double weight : weights) {
    before.push_back(before.back());
    add_expert(before.back(), weight);
  }
  const double all = before.back()[top_k];
  Sums behind = none(top_k);
  double off = 0;
  for (std::size_t e = weights.size(); e-- > 0;) {
    const double others = joined_at(before[e], behind, top_k - 1);
    off = std::max(off, std::abs(weights[e] * others / all - chances[e]));
    add_expert(behind, weights[e]);
    weights[e] = chances[e] * all / others;
  }
  normalise(weights);
  return off;
}

std::vector<double> weights_of(std::span<const double> chances, std::size_t top_k) {
  std::vector<double> weights;
  weights.reserve(chances.size());
  for (const double chance : chances) weights.push_back(chance / (1 - chance));
  normalise(weights);
  for (int round = 0; round < most_rounds && improve(weights, chances, top_k) > close_enough; ++round) {
  }
  return weights;
}

}  // namespace

RankReach::RankReach(const RankRows& rows, std::int64_t top_k, double tokens)
    : top_k_(static_cast<std::size_t>(std::min(top_k, std::ssize(rows.slot_rows)))) {
  const double all = std::accumulate(rows.slot_rows.begin(), rows.slot_rows.end(), 0.0);
  const double choices = tokens * static_cast<double>(top_k);
  kept_ = all / choices;
  std::vector<double> chances;
  chances.reserve(rows.slot_rows.size());
  for (const std::int64_t of_slot : rows.slot_rows) {
    const double share = all > 0 ? static_cast<double>(of_slot) / all : 0;
    chances.push_back(std::clamp(share * static_cast<double>(top_k_), never, always));
  }
  const std::vector<double> weights =
      all > 0 ? weights_of(chances, top_k_) : std::vector<double>(chances.size(), 1.0);
  const auto slots = static_cast<std::size_t>(rows.slots_per_rank);
  before_.push_back(none(top_k_));
  for (std::int64_t rank = 0; rank < rows.ranks; ++rank) {
    rows_.push_back(static_cast<double>(rows.of_rank(rank)) / tokens);
    Sums own = none(top_k_);
    for (std::size_t slot = 0; slot < slots; ++slot)
      add_expert(own, weights[static_cast<std::size_t>(rank) * slots + slot]);
    before_.push_back(joined(before_.back(), own));
    of_rank_.push_back(std::move(own));
  }
  all_ = before_.back()[top_k_];
  from_.assign(before_.size(), none(top_k_));
  for (std::size_t rank = of_rank_.size(); rank-- > 0;) from_[rank] = joined(from_[rank + 1], of_rank_[rank]);
}

double RankReach::of(std::span<const std::size_t> ranks) const {
  double rows = 0;
  for (const std::size_t rank : ranks) rows += rows_[rank];
  Sums others = before_[ranks.front()];
  for (std::size_t i = 1; i < ranks.size(); ++i) {
    for (std::size_t rank = ranks[i - 1] + 1; rank < ranks[i]; ++rank)
      others = joined(others, of_rank_[rank]);
  }
  const double missed = joined_at(others, from_[ranks.back() + 1], top_k_) / all_;
  return std::min(rows, kept_ * (1 - missed));
}

}  // namespace moesim
