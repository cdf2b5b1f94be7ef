// Stochastic gradient descent with momentum, as torch/optim/sgd.py has it: one state of each parameter, or
// none.
#include <memory>

#include "models/optimizer/passes.hpp"

namespace moesim {
namespace {

class Sgd final : public Optimizer {
 public:
  Sgd(const OptimizerKeys& keys, bool has_momentum) : keys_(keys), has_momentum_(has_momentum) {}

  UpdatePlan plan(const UpdateForm& form) const override {
    PlanMaker maker(keys_, form);
    const double g = maker.gradient(), p = maker.parameter(), m = has_momentum_ ? maker.state() : 0;
    if (has_momentum_) maker.holds(Over::all, m);
    if (maker.walk() == Walk::fused)
      return maker.add("SGD", Over::all, g + 2 * p + 2 * m + maker.copy(), UpdateStep::whole).plan();
    if (has_momentum_) maker.add("momentum decays", Over::all, 2 * m).add("momentum", Over::all, g + 2 * m);
    return maker.add("parameters", Over::all, 2 * p + (has_momentum_ ? m : g)).plan();
  }

 private:
  OptimizerKeys keys_;
  bool has_momentum_;
};

std::unique_ptr<const Optimizer> make(Reader& reader) {
  const OptimizerKeys keys = read_optimizer_keys(reader);
  return std::make_unique<Sgd>(
      keys, reader.flag({.name = "momentum", .help = "a state of each parameter", .fallback = true}));
}

}  // namespace

extern constexpr Entry<Optimizer> sgd_optimizer{"sgd", "gradients alone, or their momentum", make};

}  // namespace moesim
