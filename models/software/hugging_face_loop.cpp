// Experts of Hugging Face transformers one by one (transformers 5.17, models/mixtral/modeling_mixtral.py:
// MixtralExperts.forward; qwen3_moe, deepseek_v3 and gpt_oss as it): the host reads which experts have
// tokens, which tokens, and picks each matrix out of the stack by a number on the device. Backward of that
// pick fills a whole stack of gradients with zeros for each expert, and all those stacks are added up.
#include <algorithm>
#include <numeric>

#include "models/base/real.hpp"
#include "models/software/hugging_face.hpp"

namespace moesim::hugging_face {
namespace {

using pytorch::Kernels;
namespace kind = pytorch::kind;
constexpr KernelClass gathers = KernelClass::gather_scatter;

/// The loop of a layer, from the product that is first in its pass.
struct Loop {
  Loop(const Op& first, const Choices& choices, Kernels& kernels)
      : k(kernels),
        op(first),
        autocast(choices.autocast),
        tokens(std::accumulate(first.rows.begin(), first.rows.end(), std::int64_t{0}) /
               std::max<std::int64_t>(1, first.top_k)) {}
  /// A product of one expert, n x k over its rows.
  void product(std::int64_t rows, std::int64_t n, std::int64_t depth) {
    k.op(make_gemm(op.name, op.pass, rows, n, depth, op.precision));
  }
  /// The same forward: under autocast its matrix is cast first.
  void product_of_rows(std::int64_t rows, std::int64_t n, std::int64_t depth) {
    if (autocast) k.add(kind::vectorised, real(n) * real(depth), 6);
    product(rows, n, depth);
  }
  double all_tokens() const { return real(tokens) * real(op.k); }

  Kernels& k;
  const Op& op;
  bool autocast;
  std::int64_t tokens;
};

/// one_hot of all choices, how often each expert stands there, and where that is not zero.
void find_experts(Loop& loop) {
  const auto experts = static_cast<double>(loop.op.rows.size());
  const double marks = experts * real(loop.tokens) * real(loop.op.top_k);
  Kernels& k = loop.k;
  k.add(kind::fill, loop.all_tokens(), 2).add(kind::fill_fp32, marks, 8).tiny(1, gathers, 2'500);
  k.add(kind::counts, marks, 8).tiny(1).tiny(3, gathers, 1'000).read();
}

/// The tokens of one expert and their rows; three numbers read on the way.
void find_tokens(Loop& loop, double elements) {
  Kernels& k = loop.k;
  k.tiny(1, KernelClass::streaming, 300).read();
  k.read().tiny(1, KernelClass::streaming, 1'200);  // of `where`, which is one call
  k.tiny(1, gathers, 500).by_calls(0).read().tiny(3, gathers, 1'200).by_calls(0);
  k.add(kind::gather, elements, 4, gathers);
}

void gate(Loop& loop, double n) {
  if (loop.op.bias) return add_cut_gates(n, true, loop.k);
  loop.k.add(kind::silu_of_slice, n, 4).add(kind::slices, n, 6);
}

void gate_backward(Loop& loop, double n) {
  if (loop.op.bias) return add_cut_gates(n, false, loop.k);
  loop.k.add(kind::vectorised, n, 6).add(kind::slices, n, 6).add(kind::silu_backward_of_slice, n, 6);
  loop.k.add(kind::joined, 2 * n, 4);
}

/// Rows times their weights, added to the tokens that they belong to.
void add_to_tokens(Loop& loop, double elements) {
  Kernels& k = loop.k;
  k.tiny(1, gathers, 4'700);
  if (sums_in_fp32(loop.op)) {
    k.add(kind::mixed_row_factor, elements, 6).add(kind::vectorised, elements, 6);
  } else {
    k.add(kind::broadcast, elements, 4);
  }
  k.add(kind::index_add, elements, 6, gathers);
}

/// From the first product on: its matrix and the second's are picked by a number that is read.
void forward(Loop& loop) {
  Kernels& k = loop.k;
  find_experts(loop);
  for (const std::int64_t rows : loop.op.rows) {
    if (rows == 0) continue;
    const std::int64_t width = loop.op.n / 2;
    find_tokens(loop, real(rows) * real(loop.op.k));
    k.read();
    loop.product_of_rows(rows, loop.op.n, loop.op.k);
    if (loop.op.bias) k.read().add(kind::broadcast, real(rows) * real(loop.op.n), 4);
    gate(loop, real(rows) * real(width));
    k.read();
    loop.product_of_rows(rows, loop.op.k, width);
    if (loop.op.bias) k.read().add(kind::broadcast, real(rows) * real(loop.op.k), 4);
    add_to_tokens(loop, real(rows) * real(loop.op.k));
  }
}

/// Gradients of a weighted row: gathered, times the weight, and times the row for the weight's.
void from_tokens(Loop& loop, double elements) {
  Kernels& k = loop.k;
  k.add(kind::gather, elements, 4, gathers);
  if (sums_in_fp32(loop.op)) {
    k.add(kind::widened, elements, 6).add(kind::mixed, elements, 10).add(kind::row_factor, elements, 8);
    k.add(kind::vectorised, elements, 6).add(kind::row_sums, elements, 4);
  } else {
    k.add(kind::vectorised, elements, 6).add(kind::broadcast, elements, 4);
    k.add(kind::short_row_sums, elements, 2);
  }
  k.tiny(8).by_calls(2).tiny(1, gathers, 2'800).by_calls(0).tiny(1, gathers, 1'400);  // the weight's place
}

/// Gradients of an expert's rows added to those of all tokens, which each expert sets to zero for itself.
void to_tokens(Loop& loop, std::int64_t rows, bool is_first) {
  Kernels& k = loop.k;
  k.add(kind::fill, loop.all_tokens(), 2);
  add_places(rows, k);
  k.add(kind::index_put, real(rows) * real(loop.op.k), 4, gathers);
  if (!is_first) k.add(kind::vectorised, loop.all_tokens(), 6).tiny(1);
}

/// Of the second product the rows' gradient, and all that comes before and after it, the first's too.
void backward(Loop& loop) {
  bool is_first = true;
  const std::int64_t width = loop.op.n, hidden = loop.op.k;
  for (const std::int64_t rows : loop.op.rows) {
    if (rows == 0) continue;
    from_tokens(loop, real(rows) * real(hidden));
    loop.product(rows, width, hidden);
    gate_backward(loop, real(rows) * real(width));
    loop.product(rows, hidden, 2 * width);
    to_tokens(loop, rows, is_first);
    is_first = false;
  }
}

/// A matrix's gradient, put in its place in a stack of zeros; stacks are added up.
void weights(Loop& loop) {
  Kernels& k = loop.k;
  const double matrix = real(loop.op.n) * real(loop.op.k);
  const double bytes = loop.autocast ? 4 : 2;
  const double stack = matrix * static_cast<double>(loop.op.rows.size());
  bool is_first = true;
  for (const std::int64_t rows : loop.op.rows) {
    if (rows == 0) continue;
    k.tiny(1);
    loop.product(loop.op.n, loop.op.k, rows);
    if (loop.autocast) k.add(kind::widened, matrix, 6);
    k.add(loop.autocast ? kind::fill_fp32 : kind::fill, stack, bytes).add(kind::copy, matrix, 2 * bytes);
    if (!is_first) k.add(kind::vectorised, stack, 3 * bytes);
    if (loop.op.bias) {
      k.tiny(1).add(kind::column_sums, real(rows) * real(loop.op.n), 2).tiny(is_first ? 2 : 3);
    }
    is_first = false;
  }
}

}  // namespace

void add_loop(const Op& op, const Choices& choices, Kernels& k) {
  Loop loop(op, choices, k);
  const bool is_of_gates = op.columns[0] > 0;
  if (op.pass == OpPass::backward_weight) return weights(loop);
  if (op.pass == OpPass::forward && is_of_gates) return forward(loop);
  if (op.pass == OpPass::backward_input && !is_of_gates) return backward(loop);
}

}  // namespace moesim::hugging_face
