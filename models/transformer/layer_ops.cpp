#include "models/transformer/layer_ops.hpp"

#include <utility>

#include "models/base/error.hpp"
#include "models/transformer/block.hpp"

namespace moesim {
namespace {

/// Bytes per logit that softmax and cross entropy move and hold.
struct Loss {
  double forward, backward, kept;
  std::int64_t forward_kernels, backward_kernels;
};

/// Megatron-LM's separate kernels over fp32 logits: cast (2 + 4), maximum (4), subtract (8), exponential (8),
/// sum (4), divide (8); backward scales in place (8) and casts (4 + 2).
constexpr Loss separate_loss{
    .forward = 38, .backward = 14, .kept = 4, .forward_kernels = 6, .backward_kernels = 2};

/// One kernel reads the bf16 logits twice and writes their gradient over them; backward scales it by the
/// loss's.
constexpr Loss fused_loss_kernel{
    .forward = 6, .backward = 4, .kept = 2, .forward_kernels = 1, .backward_kernels = 1};

}  // namespace

void check_share(const Model& model, std::size_t layer, const Share& share) {
  ensure(layer < model.layers.size(), "a layer of the model");
  check_share(share);
}

void check_share(const Share& share) {
  ensure(share.sequences >= 1 && share.sequence_length >= 1, "a share has tokens");
  ensure(share.tensor >= 1 && share.context >= 1 && share.expert_tensor >= 1,
         "parallel sizes are at least 1");
  ensure(share.sequence_length >= share.context, "context parallelism leaves each rank a token");
  ensure(share.source_length >= 0 && share.dispatched_rows >= 0, "lengths and rows are not negative");
}

LayerOps lower_layer(const Model& model, std::size_t layer, const Share& share, const Recompute& recompute) {
  return {lower_attention(model, layer, share, recompute),
          lower_feed_forward(model, layer, share, recompute)};
}

BlockOps lower_embedding(const Model& model, const Share& share) {
  check_share(share);
  // Every tensor rank writes all rows, zero where the token is not in its part of the vocabulary.
  const double read = 2.0 / static_cast<double>(share.tensor);
  const double positions = model.positions > 0 ? 2 : 0;
  const std::int64_t tokens = share.tokens() + share.sequences * share.source_length / share.context;
  Block block(share);
  Op look_up = make_streaming(OpKind::elementwise, "embedding", OpPass::forward, tokens, model.hidden,
                              read + positions + 2, Module::embedding);
  look_up.k = part_of(model.vocabulary, share.tensor);  // rows of the matrix
  block.forward(std::move(look_up));
  // Reads the gradient; reads and writes the rows of the fp32 gradient of the matrix.
  Op add = make_streaming(OpKind::elementwise, "embedding", OpPass::backward_weight, tokens, model.hidden,
                          2 + 4 * read + 4 * positions, Module::embedding);
  add.k = part_of(model.vocabulary, share.tensor);  // rows of the gradient
  block.backward(std::move(add));
  const std::int64_t rows = share.residual_rows();
  block.keep_for_weight(bf16_bytes * static_cast<double>(rows * model.hidden));
  if (share.dropout) {  // in and out in bf16, and the mask
    block.forward(make_streaming(OpKind::elementwise, "embedding dropout", OpPass::forward, rows,
                                 model.hidden, 5, Module::dropout));
    block.backward(make_streaming(OpKind::elementwise, "embedding dropout", OpPass::backward_weight, rows,
                                  model.hidden, 5, Module::dropout));
    block.keep(static_cast<double>(rows * model.hidden));
    block.keep_for_weight(static_cast<double>(rows * model.hidden));
  }
  return block.finish(share, false, 0);
}

BlockOps lower_head(const Model& model, const Share& share, bool fused_loss) {
  check_share(share);
  const std::int64_t vocabulary = part_of(model.vocabulary, share.tensor);
  Block block(share);
  block.norm("final norm", share.residual_rows(), model.hidden, Precision::bf16, NormOutput::kept,
             NormOf::last);
  // The head stays bf16 (DeepSeek-V3, section 3.3.1).
  block.project({.name = "head projection",
                 .rows = share.tokens(),
                 .width = vocabulary,
                 .depth = model.hidden,
                 .kept_rows = share.kept_rows(),
                 .of_norm = true});
  const Loss& loss = fused_loss ? fused_loss_kernel : separate_loss;
  const auto entropy = [&](OpPass pass, double bytes, std::int64_t kernels) {
    Op op = make_streaming(OpKind::elementwise, "cross entropy", pass, share.tokens(), vocabulary, bytes,
                           Module::loss);
    op.kernels = kernels;
    return op;
  };
  block.forward(entropy(OpPass::forward, loss.forward, loss.forward_kernels));
  block.backward(entropy(OpPass::backward_input, loss.backward, loss.backward_kernels));
  block.keep(loss.kept * static_cast<double>(share.tokens()) * static_cast<double>(vocabulary));
  return block.finish(share, false, 0);
}

Flops total_flops(std::span<const Op> ops) {
  Flops total;
  for (const Op& op : ops) total += op.flops;
  return total;
}

Bytes total_bytes(std::span<const Op> ops) {
  Bytes total;
  for (const Op& op : ops) total += op.bytes;
  return total;
}

}  // namespace moesim
