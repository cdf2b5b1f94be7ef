// What compute acts are made of: the ops of their blocks and pieces.
#pragma once

#include <vector>

#include "models/transformer/layer_ops.hpp"
#include "sim/layer/issue.hpp"
#include "sim/layer/program.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Ops of an act, or so much of each of them.
struct OpsOfAct {
  std::vector<Op> ops;
  double share = 1;
};

/// The ops of a layer, the embedding or the head on one device of the scenario.
class ActOps {
 public:
  ActOps(const Scenario& scenario, const Issued& issued);
  /// Of a compute act.
  OpsOfAct of(const Act& act) const;

 private:
  std::vector<Op> of_piece(const Act& act, const std::vector<Op>& block) const;
  std::vector<Op> of_experts(const Act& act, const std::vector<Op>& block) const;

  const Scenario& scenario_;
  BlockOps shared_;  // of a layer's shared experts
  LayerOps ops_;     // of an end of the model: `attention`, as its times are
};

}  // namespace moesim
