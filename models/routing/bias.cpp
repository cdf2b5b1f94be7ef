// A bias beside the scores of experts, which counts for the choice alone: after each step it rises by a rate
// for experts with less than the mean load, and falls for those with more (arXiv 2408.15664, algorithm 1;
// DeepSeek-V3, arXiv 2412.19437, section 2.1.2, with 0.001 in section 4.2).
//
// Scores are sigmoids of logits. An expert is chosen where score + bias is above that of a token's last
// choice, at a threshold t, where a score rises by t (1 - t) for each unit of the logit: to first order a
// bias b moves the logit by b / (t (1 - t)). Biases that all experts have move the threshold with them: what
// counts is the bias over its mean by choices.
#include <cmath>
#include <cstddef>

#include "models/routing/balancing.hpp"

namespace moesim {
namespace {

class Bias final : public Balancing {
 public:
  Bias(double rate, double threshold) : rate_(rate), threshold_(threshold) {}

  /// A state is the bias.
  void adjust(const RoutedStep& step, std::span<double> states) const override {
    const double mean = 1 / static_cast<double>(states.size());
    const double alike = 1e-12 * mean;  // loads whose difference is rounding
    for (std::size_t e = 0; e < states.size(); ++e) {
      const double over = step.load[e] - mean;
      if (std::abs(over) > alike) states[e] -= over > 0 ? rate_ : -rate_;
    }
  }
  void shift(std::span<const double> states, std::span<const double> load,
             std::span<double> shifts) const override {
    double mean = 0;
    for (std::size_t e = 0; e < states.size(); ++e) mean += load[e] * states[e];
    const double slope = threshold_ * (1 - threshold_);
    for (std::size_t e = 0; e < states.size(); ++e) shifts[e] = (states[e] - mean) / slope;
  }

 private:
  double rate_, threshold_;
};

}  // namespace

extern constexpr Entry<Balancing> bias_balancing{
    "bias", "a bias on the scores of each expert rises or falls by its load (auxiliary-loss-free)",
    [](Reader& reader) -> std::unique_ptr<const Balancing> {
      const double rate = reader.number({.name = "rate",
                                         .help = "by which a bias rises or falls in a step",
                                         .fallback = 0.001,
                                         .at_least = 0.0,
                                         .at_most = 1.0});
      const double threshold =
          reader.number({.name = "threshold",
                         .help = "sigmoid score at which a token's last choice stands; a bias moves choices "
                                 "least at 0.5",
                         .fallback = 0.5,
                         .at_least = 0.001,
                         .at_most = 0.999});
      return std::make_unique<Bias>(rate, threshold);
    }};

}  // namespace moesim
