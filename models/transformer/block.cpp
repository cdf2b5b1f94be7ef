#include "models/transformer/block.hpp"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

namespace moesim {

std::vector<std::int64_t> rows_of_all(const Share& share) {
  const std::span<const std::int64_t> rows = share.expert_rows;
  const bool is_all = std::accumulate(rows.begin(), rows.end(), std::int64_t{0}) == share.dispatched_rows;
  return is_all ? std::vector<std::int64_t>{rows.begin(), rows.end()} : std::vector<std::int64_t>{};
}

void group_tokens(Op& op, const Share& share) {
  const std::int64_t tokens = share.residual_rows();
  op.batch = share.token_group > 0 ? part_of(tokens, share.token_group) : 1;
  op.sequence = part_of(tokens, op.batch);
}

/// One way; software that writes both at once says so.
Op Block::cast(const Projection& p, OpPass pass, std::int64_t width, double read) const {
  const bool is_fp4 = p.precision == Precision::fp4;
  Op op = make_streaming(OpKind::elementwise, is_fp4 ? "fp4 cast" : "fp8 cast", pass, p.rows, width,
                         read + operand(p.precision), Module::cast);
  if (is_fp4) op.precision = p.precision;
  op.k = p.width + p.depth - width;
  op.rows.assign(p.experts.begin(), p.experts.end());
  return op;
}

void Block::append(std::vector<Op>& to, Op op) const {
  if (op.bytes.count <= 0) return;
  op.part = part_;
  op.again = &to == &again_;
  to.push_back(std::move(op));
}

void Block::forward(Op op, bool again) {
  if (again) append(again_, op);
  append(forward_, std::move(op));
}

void Block::backward(Op op) {
  append(op.pass == OpPass::backward_input ? backward_input_ : backward_weight_, std::move(op));
}

void Block::keep(double bytes) {
  kept_ += bytes;
  (forward_.empty() ? kept_by_none_ : forward_.back().kept) += bytes;
}

double Block::kept_by(const Keeping& keeping) const {
  return std::accumulate(forward_.begin(), forward_.end(), kept_by_none_,
                         [&](double sum, const Op& op) { return sum + keeping.kept_by(op); });
}

void Block::run_again(Op op) { append(again_, std::move(op)); }

// The casts around one product in fp8 or fp4 (DeepSeek-V3, section 3.3; arXiv 2509.25149, figure 5): its
// input once forward, the gradient of its output once for the input gradient, and both along the other axis
// for the weight gradient, whose scales run over rows. Weights are cast once per optimizer step, not here.

void Block::add_forward_cast(const Projection& p) {
  if (!is_narrow(p.precision) || p.shares_input) return;
  const Op op = cast(p, OpPass::forward, p.depth, bf16_bytes);
  if (!p.quantised) append(forward_, op);
  if (p.input_again || (p.product_again && !p.quantised)) append(again_, op);
}

void Block::add_input_cast(const Projection& p) {
  if (!is_narrow(p.precision) || p.gradient_quantised) return;
  backward(cast(p, OpPass::backward_input, p.width, bf16_bytes));
}

void Block::add_weight_casts(const Projection& p) {
  if (!is_narrow(p.precision)) return;
  backward(cast(p, OpPass::backward_weight, p.width, p.gradient_quantised ? fp8_bytes : bf16_bytes));
  if (!p.shares_input) backward(cast(p, OpPass::backward_weight, p.depth, operand(p.precision)));
}

void Block::keep_for_weight(const Projection& p) {
  const std::int64_t kept = p.kept_rows > 0 ? p.kept_rows : p.rows;
  if (!p.input_is_held) keep_for_weight(static_cast<double>(kept * p.depth) * operand(p.precision));
  keep_for_weight(static_cast<double>(p.rows * p.width) *
                  (p.gradient_quantised ? operand(p.precision) : bf16_bytes));
}

void Block::project(const Projection& p) {
  const auto product = [&](OpPass pass, std::int64_t m, std::int64_t n, std::int64_t k) {
    Op op = make_gemm(p.name, pass, m, n, k, p.precision);
    op.columns = p.columns;
    op.bias = p.bias;
    op.of_norm = p.of_norm;
    op.groups = p.groups;
    return op;
  };
  add_forward_cast(p);
  Op there = product(OpPass::forward, p.rows, p.width, p.depth);
  there.tensor_call = p.tensor_call;
  forward(std::move(there), p.product_again);
  Op back = product(OpPass::backward_input, p.rows, p.depth, p.width);
  if (p.tensor_call == TensorCall::behind) back.tensor_call = TensorCall::before;
  backward(std::move(back));
  add_input_cast(p);
  backward(product(OpPass::backward_weight, p.width, p.depth, p.rows));
  add_weight_casts(p);
  keep_for_weight(p);
}

void Block::project_grouped(const Projection& of_all, std::span<const std::int64_t> rows) {
  Projection p = of_all;
  p.experts = rows;
  const auto product = [&](OpPass pass, std::int64_t width, std::int64_t depth) {
    Op op = make_grouped_gemm(p.name, pass, {rows.begin(), rows.end()}, width, depth, p.precision);
    op.columns = p.columns;
    op.bias = p.bias;
    op.groups = p.groups;
    op.top_k = p.top_k;
    return op;
  };
  add_forward_cast(p);
  forward(product(OpPass::forward, p.width, p.depth), p.product_again);
  backward(product(OpPass::backward_input, p.depth, p.width));
  add_input_cast(p);
  backward(product(OpPass::backward_weight, p.width, p.depth));
  add_weight_casts(p);
  keep_for_weight(p);
}

void Block::norm(std::string_view name, std::int64_t rows, std::int64_t width, Precision precision,
                 NormOutput output, NormOf of) {
  const auto pass = [&](OpPass which, double bytes) {
    Op op = make_streaming(OpKind::rms_norm, name, which, rows, width, bytes, Module::norm);
    op.norm_of = of;
    return op;
  };
  forward(pass(OpPass::forward, 2 * bf16_bytes), output == NormOutput::again);
  // Reads the gradient and the input, writes the input's gradient; the weight's gradient is a rest of it.
  backward(pass(OpPass::backward_input, 3 * bf16_bytes));
  keep(static_cast<double>(rows) * static_cast<double>(width) *
       (bf16_bytes + (output == NormOutput::kept ? operand(precision) : 0)));
}

void Block::activation(const Activation& a) {
  const double halves = a.gated ? 2 : 1;
  const auto over_rows = [&](OpPass pass, double bytes) {
    Op op = make_streaming(a.gated ? OpKind::swiglu : OpKind::elementwise, "activation", pass, a.rows,
                           a.width, bytes, a.module);
    op.rows.assign(a.experts.begin(), a.experts.end());
    op.bias = a.bias;
    return op;
  };
  // Backward reads the gradient and the halves, writes the gradient of the halves.
  forward(over_rows(OpPass::forward, (halves + 1) * bf16_bytes), a.again);
  backward(over_rows(OpPass::backward_input, (2 * halves + 1) * bf16_bytes));
}

void Block::stream(OpKind kind, Module module, std::string_view name, std::int64_t rows, std::int64_t width,
                   double forward_bytes, double backward_bytes) {
  // Backward of a permutation gathers what forward spread.
  const OpKind reversed = kind == OpKind::permute ? OpKind::unpermute : kind;
  forward(make_streaming(kind, name, OpPass::forward, rows, width, forward_bytes, module));
  backward(make_streaming(reversed, name, OpPass::backward_input, rows, width, backward_bytes, module));
}

namespace {

double most_at_work(const Keeping& keeping, std::span<const Op> ops) {
  double most = 0;
  for (const Op& op : ops) most = std::max(most, keeping.working_bytes(op));
  return most;
}

}  // namespace

void Block::hold_as_computed(const Keeping& keeping, bool full, double input_bytes, BlockOps& ops) const {
  if (full) ops.again = from_bytes(std::max(0.0, kept_by(keeping) - input_bytes));
  ops.in_forward = from_bytes(most_at_work(keeping, forward_));
  ops.in_backward =
      from_bytes(std::max(most_at_work(keeping, backward_input_), most_at_work(keeping, backward_weight_)));
}

double Block::leaving() const {
  double sum = 0;
  for (const Leaving& tensor : leaving_) {
    if (offload_.takes(tensor.module) && tensor.elements >= static_cast<double>(offload_.least_elements))
      sum += tensor.elements * tensor.bytes_each;
  }
  return sum;
}

BlockOps Block::finish(const Share& share, bool full, double input_bytes) {
  BlockOps ops;
  const double kept = share.keeping != nullptr ? kept_by(*share.keeping) : kept_;
  ops.activations = from_bytes(full ? input_bytes : kept);
  if (full) ops.recomputed = from_bytes(std::max(0.0, kept - input_bytes));
  if (sends_all_) {
    ops.offloaded = ops.activations;
  } else if (!full) {
    ops.offloaded = from_bytes(leaving());
  }
  ops.for_weight = from_bytes(for_weight_);
  if (share.keeping != nullptr && share.keeping->holds_as_computed())
    hold_as_computed(*share.keeping, full, input_bytes, ops);
  ops.backward_input = full ? forward_ : std::move(again_);
  ops.backward_input.insert(ops.backward_input.end(), std::move_iterator(backward_input_.rbegin()),
                            std::move_iterator(backward_input_.rend()));
  std::reverse(backward_weight_.begin(), backward_weight_.end());
  ops.backward_weight = std::move(backward_weight_);
  ops.forward = std::move(forward_);
  return ops;
}

BlockOps Block::finish_module(const Share& share, double kept) {
  for (const Op& op : forward_) {
    if (op.module == Module::residual) continue;
    Op once_more = op;
    once_more.again = true;
    again_.push_back(std::move(once_more));
  }
  const bool sends_all = sends_all_;
  BlockOps ops = finish(share, false, 0);
  ops.activations = from_bytes(kept);
  ops.offloaded = sends_all ? ops.activations : Bytes{};
  return ops;
}

}  // namespace moesim
