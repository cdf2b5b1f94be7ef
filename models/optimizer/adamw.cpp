// AdamW (Loshchilov and Hutter, arXiv 1711.05101; Adam: Kingma and Ba, arXiv 1412.6980): two moments of each
// parameter.
#include <memory>

#include "models/optimizer/passes.hpp"

namespace moesim {
namespace {

class AdamW final : public Optimizer {
 public:
  explicit AdamW(const OptimizerKeys& keys) : keys_(keys) {}
  UpdatePlan plan(const UpdateForm& form) const override {
    return PlanMaker(keys_, form).adamw(Over::all).plan();
  }

 private:
  OptimizerKeys keys_;
};

}  // namespace

extern constexpr Entry<Optimizer> adamw_optimizer{
    "adamw", "two moments of each parameter", [](Reader& reader) -> std::unique_ptr<const Optimizer> {
      return std::make_unique<AdamW>(read_optimizer_keys(reader));
    }};

}  // namespace moesim
