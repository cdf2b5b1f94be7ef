// The feed-forward block of a layer: dense, or shared and routed experts on the rows that arrived, and what
// follows the combine.
#include <algorithm>
#include <numeric>

#include "models/transformer/block.hpp"

namespace moesim {
namespace {

/// Two products with an activation between them.
struct Pair {
  std::string_view first, second;
  std::int64_t rows = 0;
  std::int64_t width = 0;  ///< local, of one half where gated
  bool gated = true;
  bool quantised = false;           ///< input arrives in fp8
  bool gradient_quantised = false;  ///< and the gradient of the output
  bool input_again = false;         ///< input is recomputed
  bool again = false;               ///< first product and activation are recomputed
  bool whole_again = false;         ///< and the second product
  bool activation_again = false;    ///< or the activation alone
  std::int64_t kept_rows = 0;       ///< of its input, where each rank keeps a part of it; 0: all
  bool input_is_held = false;       ///< by the router, for its own weight gradient
  bool bias = false;
  std::int64_t groups = 1, top_k = 1;  ///< of routed experts
  bool is_layer = false;               ///< all that the layer has between its norm and its residual
};

/// Keeps what the pair has besides its input: the activation's input and output.
void keep_inside(Block& block, const Pair& pair, const Share& share, bool are_experts) {
  if (pair.again) return;
  const double elements = static_cast<double>(pair.rows) * static_cast<double>(pair.width);
  const double halves = pair.gated ? 2 : 1;
  // Cached in fp8 where that is the precision, if it is only there to compute the output again.
  const double each = pair.activation_again ? operand_bytes(share) : bf16_bytes;
  const double output = pair.activation_again ? 0 : operand_bytes(share);
  block.keep(elements * (halves * each + output));
  if (are_experts) block.leave(OffloadModule::moe_act, elements * halves, each);
}

/// `experts`: rows of each local expert, or empty for one ordinary product.
void add_pair(Block& block, const Pair& pair, std::int64_t hidden, const Share& share,
              std::span<const std::int64_t> experts) {
  const bool activation_again = pair.again || pair.activation_again;
  const Projection first{.name = pair.first,
                         .rows = pair.rows,
                         .width = (pair.gated ? 2 : 1) * pair.width,
                         .depth = hidden,
                         .precision = share.gemm,
                         .quantised = pair.quantised,
                         .input_again = pair.input_again,
                         .product_again = pair.again,
                         .kept_rows = pair.kept_rows,
                         .input_is_held = pair.input_is_held,
                         .columns = {pair.gated ? pair.width : 0, pair.gated ? pair.width : 0},
                         .bias = pair.bias,
                         .of_norm = true,
                         .groups = pair.groups,
                         .top_k = pair.top_k,
                         .tensor_call = pair.is_layer ? TensorCall::before : TensorCall::none};
  const Projection second{.name = pair.second,
                          .rows = pair.rows,
                          .width = hidden,
                          .depth = pair.width,
                          .precision = share.gemm,
                          .gradient_quantised = pair.gradient_quantised,
                          .input_again = activation_again,
                          .product_again = pair.whole_again,
                          .bias = pair.bias,
                          .groups = pair.groups,
                          .top_k = pair.top_k,
                          .tensor_call = pair.is_layer ? TensorCall::behind : TensorCall::none};
  experts.empty() ? block.project(first) : block.project_grouped(first, experts);
  block.activation({.module = experts.empty() ? Module::activation : Module::expert_activation,
                    .rows = pair.rows,
                    .width = pair.width,
                    .gated = pair.gated,
                    .bias = pair.bias,
                    .again = activation_again,
                    .experts = experts});
  keep_inside(block, pair, share, !experts.empty());
  experts.empty() ? block.project(second) : block.project_grouped(second, experts);
}

/// Whether rows that were sent are operands as they come: those of fp4 are cast from what came.
bool arrives_narrow(const Share& share) {
  return share.dispatch == Precision::fp8 && share.gemm != Precision::fp4;
}

/// Rows that came from several sources to several experts are brought into the order of experts, and back: of
/// tokens that were gathered those of local experts, which are added up behind them.
void add_sort(Block& block, const Share& share, std::int64_t rows, const Model& model, const Experts& e,
              bool before) {
  const double there = 2 * element_bytes(share.dispatch);
  const double written =
      share.gathered_tokens > 0 ? static_cast<double>(share.gathered_tokens) / static_cast<double>(rows) : 1;
  const double back = (1 + written) * bf16_bytes;
  const auto sort = [&](OpKind kind, OpPass pass, double bytes) {
    Op op = make_streaming(kind, before ? "rows to experts" : "rows from experts", pass, rows, model.hidden,
                           bytes, Module::sort);
    op.k = e.count;
    return op;
  };
  block.serve(before ? LayerPart::dispatch : LayerPart::combine);
  block.forward(sort(OpKind::permute, OpPass::forward, before ? there : back));
  block.backward(sort(OpKind::unpermute, OpPass::backward_input, before ? back : there));
  block.serve(LayerPart::feed_forward);
}

/// Separate kernels multiply results with their tokens' weights and keep them for these weights' gradients,
/// with each row's weight in fp32 and its index of 8 bytes (Megatron-LM, core/transformer/moe/moe_utils.py,
/// unpermute).
void keep_results(Block& block, const Model& model, const Share& share, std::int64_t rows) {
  if (share.fusion.permutation) return;
  block.keep(static_cast<double>(rows) * (bf16_bytes * static_cast<double>(model.hidden) + 4 + 8));
}

void add_shared(Block& block, const Model& model, const Experts& e, const Share& share,
                const Recompute& recompute) {
  if (e.shared_width == 0) return;
  const Pair shared{.first = "shared first projection",
                    .second = "shared second projection",
                    .rows = share.tokens(),
                    .width = part_of(e.shared_width, share.tensor),
                    .gated = e.gated,
                    .quantised = arrives_narrow(share),
                    .input_again = recompute.again(NormOf::stream),
                    .again = recompute.experts || recompute.shared_experts,
                    .whole_again = recompute.shared_experts,
                    .activation_again = recompute.activation,
                    .kept_rows = share.kept_rows(),
                    .input_is_held = true};
  add_pair(block, shared, model.hidden, share, {});
  if (!e.shared_gate) return;
  block.project({.name = "shared gate",
                 .rows = share.residual_rows(),
                 .width = 1,
                 .depth = model.hidden,
                 .product_again = recompute.shared_experts,
                 .input_is_held = true,
                 .of_norm = true});
  block.stream(OpKind::elementwise, Module::shared_gate, "shared gate", share.residual_rows(), model.hidden,
               4, 6);
  if (recompute.shared_experts) return;
  // The gate and what it multiplies are each other's gradients.
  block.keep(bf16_bytes * static_cast<double>(share.residual_rows() * (model.hidden + 1)));
}

void add_routed(Block& block, const Model& model, const Experts& e, const Share& share,
                const Recompute& recompute) {
  const std::int64_t rows =
      std::accumulate(share.expert_rows.begin(), share.expert_rows.end(), std::int64_t{0});
  const auto local = static_cast<std::int64_t>(share.expert_rows.size());
  if (rows == 0) return;
  const bool sorted = share.gathered_tokens > 0 || (local > 1 && local < e.count);
  if (sorted) add_sort(block, share, rows, model, e, true);
  const double arrived = static_cast<double>(rows) * static_cast<double>(model.hidden);
  block.keep(operand_bytes(share) * arrived);
  block.leave(OffloadModule::expert_fc1, arrived, operand_bytes(share));
  const Pair routed{.first = "expert first projection",
                    .second = "expert second projection",
                    .rows = rows,
                    .width = part_of(e.width, share.expert_tensor),
                    .gated = e.gated,
                    .quantised = arrives_narrow(share),
                    .gradient_quantised = arrives_narrow(share),
                    .again = recompute.experts,
                    .activation_again = recompute.activation || recompute.moe_act,
                    .bias = e.bias,
                    .groups = e.groups,
                    .top_k = e.top_k};
  add_pair(block, routed, model.hidden, share, share.expert_rows);
  if (sorted) add_sort(block, share, rows, model, e, false);
  if (share.gathered_tokens > 0) keep_results(block, model, share, rows);
}

/// Backward a gradient is cast to fp8 before it goes to experts, where messages are.
void add_gradient_cast(Block& block, const Model& model, const Share& share) {
  if (share.dispatch != Precision::fp8 || share.dispatched_rows == 0) return;
  block.backward(make_streaming(OpKind::elementwise, "fp8 cast", OpPass::backward_input,
                                share.residual_rows(), model.hidden, bf16_bytes + fp8_bytes, Module::cast));
}

/// The sum over a token's experts. Backward copies the gradient to each expert. Fused software has multiplied
/// their weights in the activation, separate kernels do so here. Where tokens were gathered the exchange is
/// the sum.
void add_unpermute(Block& block, const Model& model, const Experts& e, const Share& share) {
  const std::int64_t rows = share.dispatched_rows;
  if (rows == 0) return;
  const std::int64_t tokens = share.residual_rows();
  const double summed = static_cast<double>(tokens) / static_cast<double>(rows);
  block.serve(LayerPart::combine);
  Op sum = make_streaming(OpKind::unpermute, "unpermute", OpPass::forward, rows, model.hidden, 2 + 2 * summed,
                          Module::unpermute);
  sum.k = e.count;
  sum.top_k = e.top_k;
  sum.groups = e.groups;
  sum.rows = rows_of_all(share);
  group_tokens(sum, share);
  block.forward(std::move(sum));
  keep_results(block, model, share, rows);
  Op spread = make_streaming(OpKind::permute, "unpermute", OpPass::backward_input, rows, model.hidden,
                             element_bytes(share.dispatch) * (1 + summed), Module::unpermute);
  spread.k = e.count;
  spread.top_k = e.top_k;
  spread.groups = e.groups;
  spread.rows = rows_of_all(share);
  group_tokens(spread, share);
  block.backward(std::move(spread));
  block.serve(LayerPart::feed_forward);
}

void add_dense(Block& block, const Model& model, const FeedForward& f, const Share& share,
               const Recompute& recompute) {
  const Pair dense{.first = "first projection",
                   .second = "second projection",
                   .rows = share.tokens(),
                   .width = part_of(f.width, share.tensor),
                   .gated = f.gated,
                   .input_again = recompute.again(NormOf::stream),
                   .activation_again = recompute.activation,
                   .kept_rows = share.kept_rows(),
                   .bias = f.bias,
                   .is_layer = true};
  add_pair(block, dense, model.hidden, share, {});
}

/// Of what runs again: the sum with the residual stream and the last product, or the last sum over experts.
void mark_last(std::vector<Op>& again) {
  const auto marks = [&](auto is_wanted) {
    const auto last = std::find_if(again.rbegin(), again.rend(),
                                   [&](const Op& op) { return op.pass == OpPass::forward && is_wanted(op); });
    if (last != again.rend()) last->stops = true;
    return last != again.rend();
  };
  marks([](const Op& op) { return op.module == Module::residual; });
  const bool is_gated =
      std::any_of(again.begin(), again.end(), [](const Op& op) { return op.module == Module::shared_gate; });
  if (is_gated) return;  // the gate keeps what it multiplies
  if (!marks([](const Op& op) { return op.module == Module::projection; }))
    marks([](const Op& op) { return op.module == Module::unpermute || op.part == LayerPart::combine; });
}

}  // namespace

BlockOps lower_feed_forward(const Model& model, std::size_t index, const Share& share,
                            const Recompute& chosen) {
  check_share(model, index, share);
  const Layer& layer = model.layers[index];
  const std::int64_t rows = share.residual_rows();
  Block block(share, LayerPart::feed_forward);
  block.send_to_host(share.offload, index);
  const bool module_again = !chosen.full && (layer.is_moe ? chosen.moe : chosen.mlp);
  const Recompute recompute = module_again ? Recompute{} : chosen;  // parts of what runs again whole
  if (chosen.again(NormOf::stream)) {
    block.run_again(make_streaming(OpKind::rms_norm, "feed-forward norm", OpPass::forward, rows, model.hidden,
                                   4, Module::norm));
  }
  if (module_again && layer.is_moe) route_again(block, model, index, share);
  block.serve(LayerPart::feed_forward);
  double added = 1;  // results added to the residual stream
  if (layer.is_moe) {
    add_shared(block, model, layer.experts, share, recompute);
    add_routed(block, model, layer.experts, share, recompute);
    if (share.gathered_tokens == 0) add_unpermute(block, model, layer.experts, share);
    add_gradient_cast(block, model, share);
    if (layer.experts.shared_width > 0) added = 2;
  } else {
    add_dense(block, model, layer.feed_forward, share, recompute);
  }
  // Forward reads the stream and each result, writes the stream; backward adds as many gradients, the
  // router's too.
  const double gradients = added + (layer.is_moe ? 1 : 0);
  const Dropout dropout = dropout_of(share);
  block.stream(OpKind::elementwise, Module::residual, "feed-forward residual", rows, model.hidden,
               2 * (added + 2) + dropout.forward, 2 * (gradients + 2) + dropout.backward);
  const double masks = dropout.kept * static_cast<double>(rows) * static_cast<double>(model.hidden);
  block.keep(masks);
  if (recompute.full) {
    BlockOps ops = block.finish(share, true, 0);
    mark_last(ops.backward_input);
    return ops;
  }
  return module_again ? block.finish_module(share, masks) : block.finish(share, false, 0);
}

BlockOps lower_shared_experts(const Model& model, std::size_t index, const Share& share,
                              const Recompute& recompute) {
  check_share(model, index, share);
  Block block(share, LayerPart::feed_forward);
  if (model.layers[index].is_moe) add_shared(block, model, model.layers[index].experts, share, recompute);
  return block.finish(share, recompute.full, 0);
}

}  // namespace moesim
