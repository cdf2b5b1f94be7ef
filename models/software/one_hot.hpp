// Routing by products with masks of ones and zeros, as tensorflow/mesh (mesh_tensorflow/transformer/moe.py)
// and tensorflow/lingvo (core/gshard_layers.py: Top2GatingOnLogits) write it. Of a group of S tokens each of
// E experts takes C, its capacity: dispatch is [S, E C] transposed times the tokens [S, M], combine the same
// mask with the gates' weights times [E C, M]. Both masks are kept for backward.
#pragma once

#include <cstdint>
#include <vector>

#include "models/base/precision.hpp"
#include "models/transformer/op.hpp"

namespace moesim::one_hot {

/// How the place of a token in a buffer is found: how many before it in its group chose the same expert.
enum class Sums : std::uint8_t {
  product,  ///< with an S x S triangle of ones (mesh_tensorflow/ops.py: cumsum)
  scan,  ///< tf.cumsum, a window over the tokens that XLA cuts into blocks: sums inside blocks, then what is
         ///< before each block added (openxla/xla, service/reduce_window_rewriter.h)
};

struct Form {
  Sums sums = Sums::product;
  Precision activations = Precision::bf16;  ///< of tokens and masks; gates are fp32
};

/// A product whose depth is filled up to whole arrays of 128; its FLOPs stay.
Op filled(Op product);

/// From gates' scores to a token's experts and its places in their buffers.
void add_gates(const Op& router, const Form& form, std::vector<Op>& kernels);
/// Tokens to experts (a permutation of `m` rows, all buffers of all groups), and back.
void add_dispatch(const Op& permute, const Form& form, std::vector<Op>& kernels);
/// What experts gave to tokens, and back.
void add_combine(const Op& unpermute, const Form& form, std::vector<Op>& kernels);
/// Rows of a matrix by a product with a mask of tokens x vocabulary, which the product makes itself.
void add_embedding(const Op& embedding, const Form& form, std::vector<Op>& kernels);
/// Bytes of both masks.
double kept(const Op& permute, const Form& form);

}  // namespace moesim::one_hot
