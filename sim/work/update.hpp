// What a device runs to update parameters: the passes of the scenario's optimizer and of its software.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/optimizer/newton_schulz.hpp"
#include "models/transformer/weights.hpp"
#include "sim/work/update_bytes.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {

/// Parameters that a device updates.
struct Updated {
  std::int64_t all = 0, rest = 0;         ///< elements; of them those of embedding, head and norms
  std::int64_t matrices = 0, others = 0;  ///< tensors: matrices of layers, and all else
  std::span<const Weight> weights{};      ///< matrices of layers that it holds
  double share = 1;                       ///< of them that it updates
  /// Elements of weights in fp8 or fp4, or with copies there: that it updates, and that it holds.
  std::int64_t narrow = 0, narrow_held = 0;
};

/// The part of what is held that each of so many owners updates. Matrices that an optimizer needs whole are
/// dealt out among them.
Updated updated_part(const HeldElements& held, const HolderCounts& owners, std::span<const Weight> weights);

/// Matrices of the layers of a pipeline rank on one device, each shape once; none where the optimizer asks
/// for no shapes.
std::vector<Weight> weights_of_rank(const Scenario& scenario, std::int64_t pipeline_rank);

/// Passes over the gradients that a device has summed itself, before they are sent. Megatron-LM
/// (UpdatePasses::separate; core/distributed/param_and_grad_buffer.py) sets them to zero, reads them in
/// search of NaN and, with several data-parallel ranks, multiplies them by one over their number.
std::vector<Repeated> gradient_ops(const Scenario& scenario, std::int64_t gradients);

/// The optimizer's passes. UpdatePasses::separate adds those of Megatron-LM (core/optimizer/clip_grads.py,
/// distrib_optimizer.py): gradients are cast to fp32, read for the norm and multiplied by the clipping
/// factor, and afterwards the master weights are read again and written in bf16.
std::vector<Repeated> update_ops(const Scenario& scenario, const Updated& updated);

OpSum sum_of(const std::vector<Repeated>& ops, const Scenario& scenario);

}  // namespace moesim
