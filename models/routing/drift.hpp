// How the popularity of experts moves from step to step, and what balancing makes of it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/base/random.hpp"
#include "models/routing/balancing.hpp"
#include "models/routing/loads.hpp"
#include "models/routing/skew.hpp"

namespace moesim {

/// Each expert has a score, standard normal over experts, which forgets itself: an autoregression of order 1.
/// The popularity is that of the skew with experts ranked by score; between two ranks it is linear
/// in the score. So the spread is the skew's in every step, and what drifts is who is popular.
struct Drift {
  double half_life = 0;  ///< steps after which a score keeps half of itself; 0: it never moves
  std::shared_ptr<const Balancing> balancing{};  ///< of a drift that is read, never null
};

/// The experts of one layer, step by step. A function of its arguments only.
class DriftingLayer {
 public:
  /// `natural` popularity in the first step, before anything balances it; of `gate`'s experts, sums to 1.
  DriftingLayer(const Drift& drift, const Gate& gate, std::vector<double> natural, const Random& random,
                std::int64_t layer);
  /// By which experts are chosen in this step; sums to 1.
  const std::vector<double>& popularity() const { return popularity_; }
  /// Each expert's expected share of all choices in this step; sums to 1.
  const std::vector<double>& load() const { return load_; }
  /// Goes on to the next step.
  void advance();

 private:
  void drift();
  void choose();

  Drift drift_;
  Gate gate_;
  RandomStream random_;
  std::vector<double> quantiles_, shares_;  // of scores, and popularity, of the ranks of the skew, rising
  std::vector<double> scores_;              // of experts
  std::vector<double> natural_, states_, popularity_, load_;
};

/// Popularity by layer; a layer without experts has none.
using LayerPopularity = std::vector<std::vector<double>>;
/// That of one step: takes the place of the skew that it came from.
std::shared_ptr<const Skew> skew_of_step(std::shared_ptr<const LayerPopularity> step);

}  // namespace moesim
