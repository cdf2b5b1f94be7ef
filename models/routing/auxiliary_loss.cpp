// A loss beside that of the task: E x sum of f P (Switch Transformers, arXiv 2101.03961, equations 4 to 6),
// with the shares f of choices, which have no gradient, and the router's mean probabilities P of a softmax
// over logits. Its gradient by the logit of expert j, for a router that treats tokens alike, is E P_j (f_j -
// sum of f P). A step goes so far against it; the task pulls back what it wants otherwise.
#include <cstddef>

#include "models/routing/balancing.hpp"

namespace moesim {
namespace {

class AuxiliaryLoss final : public Balancing {
 public:
  AuxiliaryLoss(double rate, double pull) : rate_(rate), pull_(pull) {}

  /// A state is what the logit of an expert is off what the task alone would make it.
  void adjust(const RoutedStep& step, std::span<double> states) const override {
    const auto experts = static_cast<double>(states.size());
    double mean = 0;
    for (std::size_t e = 0; e < states.size(); ++e) mean += step.load[e] * step.popularity[e];
    for (std::size_t e = 0; e < states.size(); ++e)
      states[e] -= pull_ * states[e] + rate_ * experts * step.popularity[e] * (step.load[e] - mean);
  }
  void shift(std::span<const double> states, std::span<const double>,
             std::span<double> shifts) const override {
    for (std::size_t e = 0; e < states.size(); ++e) shifts[e] = states[e];
  }

 private:
  double rate_, pull_;
};

}  // namespace

extern constexpr Entry<Balancing> auxiliary_loss_balancing{
    "auxiliary_loss", "the gradient of Switch's auxiliary loss moves the router's logits",
    [](Reader& reader) -> std::unique_ptr<const Balancing> {
      const double rate =
          reader.number({.name = "rate",
                         .help = "how far a step moves a logit for each unit of the gradient of E sum f P: "
                                 "the loss's coefficient times what the optimizer makes of it",
                         .at_least = 0.0,
                         .at_most = 1e4});
      const double pull =
          reader.number({.name = "pull",
                         .help = "share of what the loss has moved a logit by that the task takes back in a "
                                 "step",
                         .fallback = 0.0,
                         .at_least = 0.0,
                         .at_most = 1.0});
      return std::make_unique<AuxiliaryLoss>(rate, pull);
    }};

}  // namespace moesim
