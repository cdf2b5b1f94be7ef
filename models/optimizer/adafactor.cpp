// Adafactor (Shazeer and Stern, arXiv 1804.04235) without a first moment: of a matrix the second moment is a
// factor for each row and one for each column, of a vector it is whole. Steps are those of
// torch/optim/_adafactor.py, which reads two norms of each tensor on the host. One kernel cannot have it all:
// sums over the whole of a matrix, and over its update, come before any parameter changes.
#include <memory>

#include "models/optimizer/passes.hpp"

namespace moesim {
namespace {

constexpr Over all = Over::all;

void fused(PlanMaker& maker) {
  const double g = maker.gradient(), p = maker.parameter();
  maker.add("norm of the parameters", all, p, UpdateStep::sum);
  maker.add("rows and columns", all, g, UpdateStep::sum).add("norm of the update", all, g, UpdateStep::sum);
  maker.add("Adafactor", all, g + 2 * p + maker.copy(), UpdateStep::whole);
}

/// The estimate of the second moment, and the update after it, are of the gradient's format.
void by_steps(PlanMaker& maker) {
  const double g = maker.gradient(), p = maker.parameter();
  const bool has_lists = maker.walk() == Walk::lists;
  const std::int64_t of_factors = has_lists ? 0 : 3;  // the mean of squares, and into its state
  maker.each("norm of the parameters", all, p, UpdateStep::sum).is_read();
  maker.each("rows", all, g, UpdateStep::sum).and_small(of_factors);
  maker.each("columns", all, g, UpdateStep::sum_rows).and_small(of_factors);
  maker.each("second moment", all, g, UpdateStep::outer);
  maker.each("its mean", all, 2 * g, UpdateStep::scale).and_small(has_lists ? 1 : 2);
  maker.add("at least", all, 2 * g).add("root", all, 2 * g).add("times the gradient", all, 3 * g);
  maker.each("norm of the update", all, g, UpdateStep::sum).is_read();
  if (has_lists) maker.add("update", all, 2 * g);
  maker.add("parameters", all, g + 2 * p).works_with(g, g);
}

class Adafactor final : public Optimizer {
 public:
  explicit Adafactor(const OptimizerKeys& keys) : keys_(keys) {}

  UpdatePlan plan(const UpdateForm& form) const override {
    PlanMaker maker(keys_, form);
    maker.factors(maker.state());
    maker.walk() == Walk::fused ? fused(maker) : by_steps(maker);
    return maker.plan();
  }

 private:
  OptimizerKeys keys_;
};

}  // namespace

extern constexpr Entry<Optimizer> adafactor_optimizer{
    "adafactor", "a second moment of each row and column of a matrix",
    [](Reader& reader) -> std::unique_ptr<const Optimizer> {
      return std::make_unique<Adafactor>(read_optimizer_keys(reader));
    }};

}  // namespace moesim
