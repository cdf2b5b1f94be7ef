// Muon (Jordan et al., 2024; arXiv 2502.16982): of each matrix of a layer the momentum, made orthogonal by
// iterations of Newton and Schulz; AdamW for embedding, head and norms. Steps are those of
// torch/optim/_muon.py.
#include <memory>

#include "models/optimizer/passes.hpp"

namespace moesim {
namespace {

constexpr Over matrices = Over::matrices;
constexpr double bf16 = 2;

class Muon final : public Optimizer {
 public:
  Muon(const OptimizerKeys& keys, std::int64_t iterations) : keys_(keys), iterations_(iterations) {}

  UpdatePlan plan(const UpdateForm& form) const override {
    PlanMaker maker(keys_, form);
    const double g = maker.gradient(), p = maker.parameter(), m = maker.state();
    maker.holds(matrices, m).iterates(iterations_);
    if (maker.walk() == Walk::fused) {
      maker.add("momentum", matrices, g + 2 * m + bf16, UpdateStep::whole);
      maker.add("parameters", matrices, bf16 + 2 * p + maker.copy(), UpdateStep::whole);
    } else {  // matrix by matrix: torch has no lists here
      maker.each("momentum", matrices, g + 2 * m, UpdateStep::map);
      maker.each("Nesterov's momentum", matrices, 2 * g + m, UpdateStep::map);
      if (g > bf16) maker.each("in bf16", matrices, g + bf16, UpdateStep::map);
      maker.each("weight decay", matrices, 2 * p, UpdateStep::map);
      maker.each("parameters", matrices, bf16 + 2 * p, UpdateStep::map);
      maker.works_with(g + 2 * bf16, g + 2 * bf16);
    }
    return maker.adamw(Over::rest).plan();
  }

 private:
  OptimizerKeys keys_;
  std::int64_t iterations_;
};

std::unique_ptr<const Optimizer> make(Reader& reader) {
  const OptimizerKeys keys = read_optimizer_keys(reader);
  return std::make_unique<Muon>(keys, reader.integer({.name = "iterations",
                                                      .help = "of Newton and Schulz, on each matrix",
                                                      .fallback = 5,
                                                      .at_least = 1,
                                                      .at_most = 99}));
}

}  // namespace

extern constexpr Entry<Optimizer> muon_optimizer{
    "muon", "the momentum of each matrix, made orthogonal; AdamW for embedding, head and norms", make};

}  // namespace moesim
