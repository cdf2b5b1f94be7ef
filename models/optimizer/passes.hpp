// What plans of optimizers have in common: keys, formats, and passes as PyTorch's torch/optim has them.
#pragma once

#include <optional>

#include "models/optimizer/optimizer.hpp"

namespace moesim {

/// Keys that all members have.
struct OptimizerKeys {
  bool master = true;                  ///< weights in fp32 beside those in bf16
  std::optional<Precision> moments{};  ///< of states; UpdateForm::moments where it is not given
  Walk walk = Walk::fused;
  bool clip = false;
  bool offload = false;
};

OptimizerKeys read_optimizer_keys(Reader& reader);

/// A plan as it grows.
class PlanMaker {
 public:
  /// Begins with what comes before the optimizer itself: the gradients' norm, and gradients in fp32.
  PlanMaker(const OptimizerKeys& keys, const UpdateForm& form);

  /// Bytes of an element: of a gradient as the optimizer reads it, of a parameter that it changes, of a
  /// state, and of the copy in bf16 that a fused kernel writes beside.
  double gradient() const { return gradient_; }
  double parameter() const { return parameter_; }
  double state() const { return state_; }
  double copy() const { return master_ && casts_inside_ ? 2 : 0; }
  Walk walk() const { return walk_; }

  PlanMaker& add(std::string_view name, Over over, double bytes, UpdateStep step = UpdateStep::map);
  /// The same for each tensor, whatever the walk.
  PlanMaker& each(std::string_view name, Over over, double bytes, UpdateStep step);
  /// So many more launches for each tensor, which have next to nothing to do.
  PlanMaker& and_small(std::int64_t launches);
  /// The host reads what the last pass has found, for each tensor.
  PlanMaker& is_read();
  /// AdamW (Loshchilov and Hutter, arXiv 1711.05101).
  PlanMaker& adamw(Over over);
  /// States of so many bytes a parameter beside the master weights.
  PlanMaker& holds(Over over, double bytes);
  /// While the update runs: for each parameter where a walk goes over lists, for each of the largest tensor
  /// where it goes tensor by tensor.
  PlanMaker& works_with(double of_lists, double of_tensors);
  PlanMaker& iterates(std::int64_t count);
  PlanMaker& factors(double bytes);
  /// Ends with parameters in bf16.
  UpdatePlan plan();

 private:
  UpdatePlan plan_;
  Walk walk_;
  bool master_, casts_inside_;
  double parameter_, gradient_, state_;
};

}  // namespace moesim
