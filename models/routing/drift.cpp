#include "models/routing/drift.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/base/spread.hpp"

namespace moesim {
namespace {

/// Makes numbers sum to 1.
void normalise(std::vector<double>& numbers) {
  const double sum = std::accumulate(numbers.begin(), numbers.end(), 0.0);
  for (double& number : numbers) number /= sum;
}

/// On the line through the two neighbours of x; beyond the ends what stands there.
double between(const std::vector<double>& xs, const std::vector<double>& ys, double x) {
  const auto above = std::upper_bound(xs.begin(), xs.end(), x);
  if (above == xs.begin()) return ys.front();
  if (above == xs.end()) return ys.back();
  const auto i = static_cast<std::size_t>(above - xs.begin());
  const double part = (x - xs[i - 1]) / (xs[i] - xs[i - 1]);
  return ys[i - 1] + part * (ys[i] - ys[i - 1]);
}

}  // namespace

DriftingLayer::DriftingLayer(const Drift& drift, const Gate& gate, std::vector<double> natural,
                             const Random& random, std::int64_t layer)
    : drift_(drift),
      gate_(gate),
      random_(random.stream("drift", static_cast<std::uint64_t>(layer))),
      natural_(std::move(natural)),
      states_(natural_.size(), 0.0) {
  const std::size_t experts = natural_.size();
  std::vector<std::size_t> by_rank(experts);
  std::iota(by_rank.begin(), by_rank.end(), std::size_t{0});
  std::stable_sort(by_rank.begin(), by_rank.end(),
                   [&](std::size_t a, std::size_t b) { return natural_[a] < natural_[b]; });
  scores_.resize(experts);
  for (std::size_t rank = 0; rank < experts; ++rank) {
    const double below = (static_cast<double>(rank) + 0.5) / static_cast<double>(experts);
    quantiles_.push_back(below < 0.5 ? -normal_exceeded_by(below) : normal_exceeded_by(1 - below));
    shares_.push_back(natural_[by_rank[rank]]);
    scores_[by_rank[rank]] = quantiles_.back();
  }
  choose();
}

void DriftingLayer::advance() {
  drift_.balancing->adjust({.popularity = popularity_, .load = load_}, states_);
  drift();
  choose();
}

void DriftingLayer::drift() {
  if (drift_.half_life == 0) return;
  const double kept = std::exp2(-1 / drift_.half_life);
  const double added = std::sqrt(1 - kept * kept);
  for (std::size_t e = 0; e < scores_.size(); ++e) {
    scores_[e] = kept * scores_[e] + added * random_.normal();
    natural_[e] = between(quantiles_, shares_, scores_[e]);
  }
  normalise(natural_);
}

void DriftingLayer::choose() {
  popularity_ = natural_;
  if (!drift_.balancing->is_none()) {
    if (load_.empty()) load_ = natural_;
    std::vector<double> shifts(states_.size());
    drift_.balancing->shift(states_, load_, shifts);
    const bool moves = std::any_of(shifts.begin(), shifts.end(), [](double shift) { return shift != 0; });
    for (std::size_t e = 0; moves && e < shifts.size(); ++e) popularity_[e] *= std::exp(shifts[e]);
    if (moves) normalise(popularity_);
  }
  load_ = chances({.gate = gate_, .popularity = popularity_});
  normalise(load_);
}

namespace {

class StepSkew final : public Skew {
 public:
  explicit StepSkew(std::shared_ptr<const LayerPopularity> step) : step_(std::move(step)) {}
  std::vector<double> popularity(std::int64_t experts, std::int64_t layer, std::int64_t,
                                 const Random&) const override {
    ensure(std::ssize(at(*step_, layer)) == experts, "a step has a popularity of each expert");
    return at(*step_, layer);
  }

 private:
  std::shared_ptr<const LayerPopularity> step_;
};

}  // namespace

std::shared_ptr<const Skew> skew_of_step(std::shared_ptr<const LayerPopularity> step) {
  return std::make_shared<const StepSkew>(std::move(step));
}

}  // namespace moesim
