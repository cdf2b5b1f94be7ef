// The tensors of parameters that one device holds, with their shapes.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "models/base/at.hpp"
#include "models/transformer/model.hpp"

namespace moesim {

/// Matrices of one shape, one by one or in stacks.
struct Weight {
  std::int64_t rows = 0, columns = 0;  ///< outputs, inputs
  std::int64_t count = 1;
  std::int64_t tensors = 1;  ///< that they are in
  bool narrow = true;        ///< operands of products in a narrow format; else of products that stay bf16
  std::int64_t elements() const { return rows * columns * count; }
};

/// What a block, or an end of the model, has. A value without a heap: asked for again and again.
class Weights {
 public:
  void add(const Weight& weight) {
    if (weight.elements() > 0) at(weights_, count_++) = weight;
  }
  std::span<const Weight> matrices() const { return {weights_.data(), static_cast<std::size_t>(count_)}; }
  std::int64_t vectors = 0;  ///< tensors: norms and biases

 private:
  std::array<Weight, 12> weights_{};
  std::int64_t count_ = 0;
};

/// Of a layer's attention, as code without fused products has them, with all norms of the layer. Sizes are
/// divided as `Parameters` are counted: all by the tensor-parallel size but projections down to latents.
Weights attention_weights(const Model& model, std::size_t layer, std::int64_t tensor);
/// Router, dense or shared feed-forward.
Weights feed_forward_weights(const Model& model, std::size_t layer, std::int64_t tensor);
/// Of so many experts in two stacks, one of their first matrices and one of their second.
Weights expert_weights(const Model& model, std::size_t layer, std::int64_t expert_tensor, std::int64_t slots);

}  // namespace moesim
