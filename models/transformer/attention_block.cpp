// The attention block of a layer: norms, attention (multi-head, grouped-query or latent), residual; for MoE
// the router and the permutation into the order of destinations.
#include <algorithm>
#include <utility>

#include "models/base/real.hpp"
#include "models/transformer/block.hpp"
#include "models/transformer/core_kernels.hpp"

namespace moesim {
namespace {

/// What all parts of the block need to know.
struct Context {
  std::int64_t hidden = 1;
  const Attention& attention;
  const Share& share;
  const Recompute& recompute;
  std::int64_t tokens = 1;    ///< rows of products
  std::int64_t residual = 1;  ///< rows of norms and residuals
  std::int64_t heads = 1;     ///< local
  std::int64_t kv_heads = 1;  ///< local; replicated where there are fewer than ranks
};

NormOutput norm_output(bool again) { return again ? NormOutput::again : NormOutput::kept; }

double held(std::int64_t rows, std::int64_t width) { return bf16_bytes * real(rows) * real(width); }

Projection projection(const Context& c, std::string_view name, std::int64_t rows, std::int64_t width,
                      std::int64_t depth, bool input_again) {
  return {.name = name,
          .rows = rows,
          .width = width,
          .depth = depth,
          .precision = c.share.gemm,
          .input_again = input_again};
}

/// Of an input that the tensor group gathers: each rank keeps its rows.
Projection of_residual(const Context& c, Projection projection) {
  projection.of_norm = true;
  projection.kept_rows = c.share.kept_rows();
  return projection;
}

double count(std::int64_t rows, std::int64_t width) { return real(rows) * real(width); }

/// A norm inside the projections, or before them: its input, and what it gives a product.
void add_norm(Block& block, const Context& c, std::string_view name, std::int64_t width, OffloadModule input,
              NormOf of = NormOf::stream) {
  const bool again = c.recompute.again(of);
  block.norm(name, c.residual, width, c.share.gemm, norm_output(again), of);
  block.leave(input, count(c.residual, width), bf16_bytes);
  if (!again) block.leave(OffloadModule::qkv_linear, count(c.residual, width), operand_bytes(c.share));
}

/// Queries, keys and values, as the core reads them.
void leave_inputs(Block& block, const Context& c, std::int64_t kv_heads) {
  const Attention& a = c.attention;
  for (const std::int64_t width : {c.heads * a.head_dim, kv_heads * a.head_dim, kv_heads * a.value_head_dim})
    block.leave(OffloadModule::core_attn, count(c.tokens, width), bf16_bytes);
}

/// Norm, then one product for queries, keys and values; norms of heads; rotary embedding.
void add_plain_queries(Block& block, const Context& c) {
  const Attention& a = c.attention;
  const std::int64_t query_key = (c.heads + c.kv_heads) * a.head_dim;
  add_norm(block, c, "attention norm", c.hidden, OffloadModule::attn_norm);
  Projection qkv = projection(c, "qkv projection", c.tokens, query_key + c.kv_heads * a.value_head_dim,
                              c.hidden, c.recompute.again(NormOf::stream));
  qkv.bias = a.qkv_bias;
  qkv.tensor_call = TensorCall::before;
  qkv.columns = {c.heads * a.head_dim, c.kv_heads * a.head_dim, c.kv_heads * a.value_head_dim};
  block.project(of_residual(c, qkv));
  if (a.qk_norm) {  // its output is kept as the attention's input
    block.norm("query and key norm", c.tokens * (c.heads + c.kv_heads), a.head_dim, Precision::bf16,
               NormOutput::again_elsewhere, NormOf::heads);
    for (const std::int64_t heads : {c.heads, c.kv_heads})
      block.leave(OffloadModule::qkv_linear, count(c.tokens, heads * a.head_dim), bf16_bytes);
  }
  block.stream(OpKind::elementwise, Module::rotary, "rotary embedding", c.tokens, query_key, 4, 4);
  block.keep(held(c.tokens, query_key + c.kv_heads * a.value_head_dim));
  leave_inputs(block, c, c.kv_heads);
}

/// Rotates the query's part in place, and writes whole keys, from their part per head and the shared rotary
/// part, and values, which the projection left between the keys.
void add_latent_rotary(Block& block, const Context& c) {
  const Attention& a = c.attention;
  const bool up_again = c.recompute.latent;
  const std::int64_t unrotated = a.head_dim - a.rope_head_dim;
  const double moved =
      static_cast<double>(4 * a.rope_head_dim + 2 * unrotated + 2 * a.head_dim + 4 * a.value_head_dim);
  const double per_element = moved / static_cast<double>(a.head_dim);
  const auto rotate = [&](OpPass pass) {
    Op op = make_streaming(OpKind::elementwise, "rotary embedding", pass, c.tokens, c.heads * a.head_dim,
                           per_element, Module::rotary);
    op.heads = c.heads;
    op.head_dim = a.head_dim;
    op.value_head_dim = a.value_head_dim;
    op.k = a.rope_head_dim;  // of head_dim
    return op;
  };
  block.forward(rotate(OpPass::forward), up_again);
  block.backward(rotate(OpPass::backward_input));
  if (up_again) return;
  block.keep(held(c.tokens, c.heads * (2 * a.head_dim + a.value_head_dim)));
  leave_inputs(block, c, c.heads);
}

/// MLA as it trains (arXiv 2405.04434, section 2.1): latents down, norms, keys and values up again.
/// Down-projections are not divided over heads but over rows, as Megatron-LM's with sequence parallelism.
void add_latent_queries(Block& block, const Context& c) {
  const Attention& a = c.attention;
  const bool up_again = c.recompute.latent;
  const std::int64_t unrotated = a.head_dim - a.rope_head_dim;
  const bool norm_again = c.recompute.again(NormOf::stream), latent_again = c.recompute.again(NormOf::latent);
  add_norm(block, c, "attention norm", c.hidden, OffloadModule::attn_norm);
  Projection query = projection(c, "q projection", c.tokens, c.heads * a.head_dim, c.hidden, norm_again);
  if (a.q_lora_rank > 0) {
    Projection latent = projection(c, "q_a down-projection", c.residual, a.q_lora_rank, c.hidden, norm_again);
    latent.of_norm = true;
    block.project(latent);
    add_norm(block, c, "query latent norm", a.q_lora_rank, OffloadModule::qkv_linear, NormOf::latent);
    query.name = "q_b up-projection";
    query.depth = a.q_lora_rank;
    query.input_again = latent_again;
  }
  query.product_again = up_again;
  block.project(of_residual(c, query));
  Projection down = projection(c, "kv_a down-projection", c.residual, a.kv_lora_rank + a.rope_head_dim,
                               c.hidden, norm_again);
  down.shares_input = a.q_lora_rank > 0;
  down.input_is_held = true;
  down.of_norm = true;
  block.project(down);
  add_norm(block, c, "kv latent norm", a.kv_lora_rank, OffloadModule::qkv_linear, NormOf::latent);
  Projection up = projection(c, "kv_b up-projection", c.tokens, c.heads * (unrotated + a.value_head_dim),
                             a.kv_lora_rank, latent_again);
  up.product_again = up_again;
  block.project(of_residual(c, up));
  add_latent_rotary(block, c);
}

/// Queries from the decoder, keys and values from the encoder's output, which the stack keeps once for all
/// layers.
void add_cross_queries(Block& block, const Context& c, std::int64_t source_rows) {
  const Attention& a = c.attention;
  const std::int64_t key_value = c.kv_heads * (a.head_dim + a.value_head_dim);
  block.norm("cross attention norm", c.residual, c.hidden, c.share.gemm, norm_output(c.recompute.norm));
  block.project(of_residual(
      c, projection(c, "cross q projection", c.tokens, c.heads * a.head_dim, c.hidden, c.recompute.norm)));
  block.project(projection(c, "cross kv projection", source_rows, key_value, c.hidden, false));
  block.keep(held(c.tokens, c.heads * a.head_dim) + held(source_rows, key_value));
}

/// One of the cores of a block.
struct Core {
  std::uint8_t number = 0;
  std::string_view name;
  bool is_only = true;
  AttentionShape whole;  ///< before it is divided over context ranks
};

std::vector<Op> kernels_of(const Core& core, const Context& c, OpPass pass) {
  std::vector<Op> kernels = core_kernels(pass, c.share, core.whole);
  for (Op& kernel : kernels) {
    kernel.name = core.name;
    kernel.core = core.number;
  }
  return kernels;
}

/// What the core's kernels write for backward besides its output. Fused: log-sum-exp in fp32. One by one
/// (arXiv 2205.05198, section 4.1): the output of softmax, with dropout its mask and output too; and keys and
/// values once for each head that shares them (Megatron-LM, core/transformer/dot_product_attention.py).
double kept_by_core(const Context& c, const AttentionShape& whole, const std::vector<Op>& kernels) {
  if (c.share.fusion.attention) return 4.0 * real(c.tokens) * real(c.heads);
  const double keys = real(whole.batch) * real(whole.kv_sequence);
  double scores = 0;
  for (const Op& kernel : kernels)
    scores += real(kernel.batch) * real(kernel.heads) * real(kernel.sequence) * real(kernel.kv_sequence);
  const double kept = scores * (c.share.dropout ? bf16_bytes + 1 + bf16_bytes : bf16_bytes);
  if (whole.heads == whole.kv_heads) return kept;
  const double width = real(whole.head_dim) + real(whole.value_head_dim);
  const double own = keys / real(c.share.context) * real(whole.kv_heads);
  return kept + bf16_bytes * width * (keys * real(whole.heads) - own);
}

/// The core, the output projection and the residual.
void add_core(Block& block, const Context& c, const Core& core) {
  std::vector<Op> forward = kernels_of(core, c, OpPass::forward);
  const double kept = c.recompute.attention ? 0 : kept_by_core(c, core.whole, forward);
  for (Op& kernel : forward) block.forward(std::move(kernel), c.recompute.attention);
  block.keep(kept);
  const double each = c.share.fusion.attention ? 4 : bf16_bytes;
  block.leave(OffloadModule::core_attn, kept / each, each);
  std::vector<Op> backward = kernels_of(core, c, OpPass::backward_input);
  std::reverse(backward.begin(), backward.end());  // a block takes the last to run first
  for (Op& kernel : backward) block.backward(std::move(kernel));
  const std::int64_t output = c.heads * c.attention.value_head_dim;
  // The output is the next product's input too, and stays bf16 for the core's backward.
  block.keep(held(c.tokens, output));
  block.leave(OffloadModule::attn_proj, count(c.tokens, output), bf16_bytes);
  Projection back = projection(c, "output projection", c.tokens, c.hidden, output, false);
  back.bias = c.attention.output_bias;
  if (core.is_only) back.tensor_call = TensorCall::behind;
  block.project(back);
  const Dropout dropout = dropout_of(c.share);
  block.stream(OpKind::elementwise, Module::residual, "attention residual", c.residual, c.hidden,
               6 + dropout.forward, 6 + dropout.backward);
  block.keep(dropout.kept * real(c.residual) * real(c.hidden));
}

/// Joins the hidden state with the next token's embedding (arXiv 2412.19437, equation 21).
void add_prediction_input(Block& block, const Context& c) {
  for (const std::string_view name : {"prediction state norm", "prediction embedding norm"}) {
    block.norm(name, c.residual, c.hidden, c.share.gemm, norm_output(c.recompute.norm));
  }
  block.project(
      of_residual(c, projection(c, "prediction projection", c.tokens, part_of(c.hidden, c.share.tensor),
                                2 * c.hidden, c.recompute.norm)));
}

/// So many rows to the order of their destinations: each is read once and written for each of them; backward
/// adds the copies' gradients up again.
void add_permutation(Block& block, const Context& c, const Experts& e, std::int64_t rows) {
  const double summed = static_cast<double>(c.residual) / static_cast<double>(rows);
  block.serve(LayerPart::dispatch);
  Op apart = make_streaming(OpKind::permute, "permute", OpPass::forward, rows, c.hidden,
                            element_bytes(c.share.dispatch) * (1 + summed), Module::permute);
  apart.k = e.count;
  apart.top_k = e.top_k;
  apart.groups = e.groups;
  apart.rows = rows_of_all(c.share);
  group_tokens(apart, c.share);
  block.forward(std::move(apart));
  Op back = make_streaming(OpKind::unpermute, "permute", OpPass::backward_input, rows, c.hidden,
                           bf16_bytes * (1 + summed), Module::permute);
  back.k = e.count;
  back.top_k = e.top_k;
  back.groups = e.groups;
  back.rows = rows_of_all(c.share);
  group_tokens(back, c.share);
  block.backward(std::move(back));
}

/// Gates stay bf16 (DeepSeek-V3, section 3.3.1); scores are kept in fp32.
void add_routing(Block& block, const Context& c, const Experts& e) {
  block.serve(LayerPart::router);
  block.project({.name = "router projection",
                 .rows = c.residual,
                 .width = e.count,
                 .depth = c.hidden,
                 .bias = e.router_bias,
                 .of_norm = true,
                 .groups = e.groups});
  const auto route = [&](OpPass pass) {
    // Weight and index of each choice, and in backward the weight's gradient.
    const double choice =
        (pass == OpPass::forward ? 8 : 12) * static_cast<double>(e.top_k) / static_cast<double>(e.count);
    Op op = make_streaming(OpKind::router, "router", pass, c.residual, e.count, 6 + choice, Module::router);
    op.top_k = e.top_k;
    op.groups = e.groups;
    group_tokens(op, c.share);
    return op;
  };
  block.forward(route(OpPass::forward));
  block.backward(route(OpPass::backward_input));
  if (!c.recompute.moe) block.keep(4.0 * real(c.residual) * real(e.count));
  const std::int64_t rows = c.share.dispatched_rows;
  if (rows == 0) return;
  block.serve(LayerPart::attention);
  if (c.share.dispatch == Precision::fp8) {
    block.forward(make_streaming(OpKind::elementwise, "fp8 cast", OpPass::forward, c.residual, c.hidden,
                                 bf16_bytes + fp8_bytes, Module::cast));
  }
  if (c.share.gathered_tokens == 0) add_permutation(block, c, e, rows);
}

/// A core before it is divided over context ranks.
AttentionShape core_shape(const Context& c, std::int64_t kv_sequence) {
  return {.batch = c.share.sequences,
          .heads = c.heads,
          .kv_heads = c.kv_heads,
          .sequence = c.share.sequence_length,
          .kv_sequence = kv_sequence,
          .head_dim = c.attention.head_dim,
          .value_head_dim = c.attention.value_head_dim,
          .dropout = c.share.dropout,
          .sinks = c.attention.sinks};
}

Context context_of(const Model& model, std::size_t layer, const Share& share, const Recompute& recompute) {
  const Attention& a = model.layers[layer].attention;
  return {.hidden = model.hidden,
          .attention = a,
          .share = share,
          .recompute = recompute,
          .tokens = share.tokens(),
          .residual = share.residual_rows(),
          .heads = part_of(a.heads, share.tensor),
          .kv_heads = part_of(a.kv_heads, share.tensor)};
}

}  // namespace

void route_again(Block& block, const Model& model, std::size_t layer, const Share& share) {
  const Recompute none;
  Block alone(share);
  add_routing(alone, context_of(model, layer, share, none), model.layers[layer].experts);
  for (Op& op : alone.finish(share, false, 0).forward) {
    block.serve(op.part);
    block.run_again(std::move(op));
  }
}

BlockOps lower_attention(const Model& model, std::size_t index, const Share& share,
                         const Recompute& recompute) {
  check_share(model, index, share);
  const Layer& layer = model.layers[index];
  const Attention& a = layer.attention;
  const Context c = context_of(model, index, share, recompute);
  Block block(share);
  block.send_to_host(share.offload, index);
  if (model.is_prediction(index)) add_prediction_input(block, c);
  if (a.is_latent()) {
    add_latent_queries(block, c);
  } else {
    add_plain_queries(block, c);
  }
  AttentionShape shape = core_shape(c, share.sequence_length);
  shape.window = a.window;
  shape.causal = layer.causal;
  add_core(block, c, {.number = 0, .name = "attention", .is_only = !layer.cross_attention, .whole = shape});
  if (layer.cross_attention) {
    const std::int64_t source = share.source_length > 0 ? share.source_length : share.sequence_length;
    add_cross_queries(block, c, share.sequences * source / share.context);
    shape = core_shape(c, source);
    shape.causal = false;
    add_core(block, c, {.number = 1, .name = "cross attention", .is_only = false, .whole = shape});
  }
  // The router reads bf16; a dense feed-forward reads what it multiplies with. The feed-forward block, whose
  // backward comes first, computes this norm again where that is chosen.
  const Precision read = layer.is_moe ? Precision::bf16 : share.gemm;
  block.norm("feed-forward norm", c.residual, model.hidden, read,
             recompute.again(NormOf::stream) ? NormOutput::again_elsewhere : NormOutput::kept);
  block.leave(OffloadModule::mlp_norm, count(c.residual, model.hidden), bf16_bytes);
  if (layer.is_moe) add_routing(block, c, layer.experts);
  return block.finish(share, recompute.full, recompute.inside ? 0 : held(c.residual, model.hidden));
}

}  // namespace moesim
