// Tensors that stand for weight gradients which are added to the sum of microbatches elsewhere.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "models/base/units.hpp"
#include "models/transformer/layer_ops.hpp"

namespace moesim {

/// Rows and columns of a weight on this device.
using WeightShape = std::pair<std::int64_t, std::int64_t>;

/// Adds the shapes of the weights whose gradients these ops compute.
void add_weight_shapes(const std::vector<Op>& weight_gradients, std::vector<WeightShape>& shapes);

/// Transformer Engine adds weight gradients to the sum of microbatches inside the product, and hands autograd
/// a tensor of the weight's shape in their place: one for each shape, kept for good (pytorch/module/base.py,
/// get_dummy_wgrad). Megatron-LM's head makes its own when its backward begins, where activations are at
/// their peak (core/tensor_parallel/layers.py).
Bytes placeholder_bytes(std::vector<WeightShape> shapes);

}  // namespace moesim
