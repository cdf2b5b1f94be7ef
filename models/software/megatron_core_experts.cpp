// Routers, dispatchers and experts of Megatron-Core (core/transformer/moe: router.py, moe_utils.py,
// token_dispatcher.py, experts.py) with the kernels of Transformer Engine (pytorch/permutation.py,
// pytorch/module/grouped_linear.py).
#include <algorithm>
#include <numeric>
#include <utility>

#include "models/base/real.hpp"
#include "models/software/megatron_core.hpp"
#include "models/software/separate.hpp"
#include "models/software/torch_blocks.hpp"

namespace moesim::megatron {
namespace {

using pytorch::Kernels;
namespace kind = pytorch::kind;
constexpr KernelClass gathers = KernelClass::gather_scatter;

/// Whether a rank has some of the experts only.
bool is_exchanged(const Op& op) { return static_cast<std::int64_t>(op.rows.size()) != op.k; }

std::int64_t with_rows(const Op& op) {
  return std::count_if(op.rows.begin(), op.rows.end(), [](std::int64_t rows) { return rows > 0; });
}

double all_rows(const Op& op) {
  return real(std::accumulate(op.rows.begin(), op.rows.end(), std::int64_t{0}));
}

/// Of tokens by experts, which rows to and from experts have as their depth.
double elements_of_map(const Op& op) { return pytorch::token_elements(op) / real(op.n) * real(op.k); }

/// A small collective through torch.distributed beside those that the layer tells of: 100 us of the host, as
/// of any (docs/software.md), which is three launches forward and backward; the smallest takes 9.3 us among 8
/// GPUs (1 KB, microsoft/mscclpp, docs/performance-ndmv4.md).
void small_collective(Kernels& k) { k.tiny(1, gathers, 9'300).by_calls(3); }

/// A slice of a tensor takes 1.3 us of a launch's 33 ("issue": view).
constexpr std::int64_t views_of_a_call = 25;

std::int64_t beside_pass(const Beside& more, const Op& op) {
  return op.pass == OpPass::forward ? more.forward : more.backward;
}

/// torch.masked_select: where the mask is set, which the host waits for, and the elements there.
void masked_select(Kernels& k) { k.tiny(4, gathers, 2'000).read().tiny(1, gathers); }

/// Of choices as a map of all experts: probabilities and marks, set to zero and scattered
/// (topk_routing_with_score_function).
void scatter_choices(Kernels& k) {
  const double n = k.elements();
  k.add(kind::fill, n, 2).add(kind::copy, n, 4).tiny(1, gathers);
  k.add(kind::fill, n, 2).add(kind::widened, n, 6).add(kind::copy, n, 8).tiny(1, gathers);
  k.add(kind::one_read, n, 5);
}

/// Sigmoid, its correction, the best groups by their best experts, the best of those (group_limited_topk).
void choose_groups(const Op& op, Kernels& k) {
  const double n = k.elements();
  k.all(kind::one_read, 8).all(kind::broadcast, 8);
  k.add(kind::topk, pytorch::chosen_from(op.m * op.groups, op.n / op.groups), 4, gathers)
      .tiny(1, gathers)
      .tiny(1);
  k.add(kind::topk, pytorch::chosen_from(op.m, op.groups), 4, gathers)
      .tiny(1, gathers)
      .tiny(1)
      .tiny(1, gathers);
  k.add(kind::strided, n, 8).add(kind::widened, n, 5).add(kind::one_read, n, 2);
  k.add(kind::copy, n, 8).add(kind::vectorised, n, 9);
  k.add(kind::topk, pytorch::chosen_from(op.m, op.n), 4, gathers).tiny(1, gathers).tiny(1, gathers).tiny(4);
}

void route(const Op& op, Kernels& k) {
  if (op.groups > 1) {
    choose_groups(op, k);
  } else {  // and softmax of the chosen, back to the format of the logits
    k.add(kind::topk, pytorch::chosen_from(op.m, op.n), 4, gathers).tiny(1, gathers).tiny(2);
  }
  scatter_choices(k);
}

/// Of an auxiliary loss: its own scores and choices, tokens of each expert, their product and a record
/// (compute_routing_scores_for_aux_loss, switch_load_balancing_loss_func, save_to_aux_losses_tracker).
void auxiliary_loss(const Op& op, bool is_fused, Kernels& k) {
  const double n = k.elements();
  if (op.pass != OpPass::forward) {
    k.tiny(2);  // the scale of the loss
    if (is_fused) {
      k.all(kind::vectorised, 12).all(kind::vectorised, 12).more_calls(beside::fused_loss.backward);
      return;
    }
    k.tiny(3).all(kind::expanded, 4).all(kind::softmax, 12).all(kind::vectorised, 12);
    return;
  }
  if (is_fused) {
    k.all(kind::softmax, 8).add(kind::column_sums, n, 1).tiny(1).tiny(2);
    k.more_calls(beside::fused_loss.forward);
    return;
  }
  k.all(kind::softmax, 8).add(kind::topk, pytorch::chosen_from(op.m, op.n), 4, gathers).tiny(1, gathers);
  k.add(kind::fill, n, 4).add(kind::widened, n, 8).add(kind::copy, n, 8).tiny(1, gathers);
  k.add(kind::one_read, n, 5).add(kind::column_sums, n, 1).all(kind::column_sums, 4).tiny(3).tiny(2);
}

/// Each expert's best tokens up to its capacity (apply_router_token_dropping): a sort of every column.
void drop_tokens(Kernels& k) {
  const double n = k.elements();
  k.add(kind::topk, n, 8, gathers).tiny(3, gathers).add(kind::fill, n, 4).add(kind::copy, n, 8);
  k.tiny(1, gathers).add(kind::one_read, n, 5).add(kind::vectorised, n, 12).add(kind::one_read, n, 3);
}

/// How many tokens go to each expert, here and from all ranks (MoEAlltoAllTokenDispatcher.preprocess).
void count_tokens(const Op& op, Kernels& k) {
  k.add(kind::column_sums, elements_of_map(op), 1, gathers);
  if (!is_exchanged(op)) return;
  k.tiny(1, gathers);
  small_collective(k);
  k.tiny(4, gathers);
}

/// Rows by their index in the order of experts (moe_utils.permute). Fused: three kernels find the places
/// (transformer_engine/common/triton/permutation.py: make_row_id_map), one moves rows and weights.
void bring_rows(const Op& op, const Choices& choices, std::vector<Op>& kernels) {
  Kernels k(op, kernels);
  if (choices.fuses_permute) {
    k.tiny(3, gathers).op(op).more_calls(beside::permute.forward);
    return;
  }
  const double map = elements_of_map(op);
  if (choices.pads_to_capacity) {
    k.add(kind::strided, map, 2);
    pytorch::add_argsort(op, map, kernels);
    k.tiny(1).add(kind::strided, map, 4).tiny(3).tiny(1, gathers);
  } else {
    k.add(kind::strided, map, 2).tiny(1);
    masked_select(k);
    k.add(kind::strided, map, 4);
    masked_select(k);
  }
  k.op(gathered(op));
}

/// Copies of the counts to the host, which waits for them before it can tell the exchange what to send
/// (token_dispatcher.py: MoEAlltoAllTokenDispatcher.token_dispatch, _maybe_dtoh_and_synchronize).
void read_counts(const Op& op, const Choices& choices, Kernels& k) {
  const std::int64_t counts = (is_exchanged(op) ? 4 : 1) + (choices.fuses_permute ? 0 : 1);
  k.tiny(counts, gathers).more_calls(beside::counts.forward);
  is_exchanged(op) ? k.read_in_call() : k.read();
}

/// Of a flexible dispatcher what comes before it: choices by index, who gets how much, and how much comes,
/// which DeepEP's host waits for (deep_ep/buffer.py: dispatch), HybridEP's unless it has a bound for it
/// (_HybridEPManager: num_permuted_tokens).
void prepare_dispatch(const Op& op, const Choices& choices, Kernels& k) {
  const bool is_deepep = choices.flex == FlexCode::deepep;
  if (is_deepep) k.add(kind::topk, elements_of_map(op), 4, gathers);
  k.tiny(is_deepep ? 3 : 2, gathers);
  if (choices.reads_counts()) k.read_in_call();
}

/// Choices by index into a map of experts, as PyTorch's kernels (_DeepepManager._indices_to_multihot): three
/// times the host waits for how many there are; of experimental features one kernel
/// (core/fusions/fused_indices_converter.py).
void map_of_choices(Kernels& k) {
  k.tiny(3);
  masked_select(k);
  k.tiny(2);
  k.tiny(2, gathers).read().tiny(2, gathers);
  masked_select(k);
  k.tiny(3, gathers);
}

/// Rows that came by a flexible dispatcher. HybridEP moves them to their experts itself.
void sort_of_flex(const Op& op, const Choices& choices, Kernels& k) {
  const bool is_forward = op.pass == OpPass::forward;
  if (choices.flex == FlexCode::hybridep) {
    k.op(op).by_calls(0);
    return;
  }
  const bool is_before = op.part == LayerPart::dispatch;
  const bool is_map_fused = choices.is_experimental && choices.fuses_permute;
  if (is_before && is_forward) {
    is_map_fused ? static_cast<void>(k.tiny(1, gathers)) : map_of_choices(k);
    if (choices.fuses_permute) {
      k.tiny(3, gathers);
    } else {
      masked_select(k);
      masked_select(k);
    }
  }
  const bool is_sum = is_before != is_forward && !choices.fuses_permute;
  Op rows = is_sum ? in_launches(op, 2) : op;
  rows.adds_atomically = is_sum;
  k.op(std::move(rows));
  if (is_before && !is_forward) k.tiny(is_map_fused ? 1 : 4, gathers);  // gradients of weights by index
}

/// Of tokens that were gathered, with their map of experts and its weights by collectives of their own, those
/// of local experts (MoEAllGatherTokenDispatcher): cut out of map and weights, counted, which the host waits
/// for, and brought into order; then added up for all tokens.
void sort_of_gathered(const Op& op, const Choices& choices, std::vector<Op>& kernels) {
  Kernels k(op, kernels);
  const bool is_forward = op.pass == OpPass::forward, is_before = op.part == LayerPart::dispatch;
  if (is_before && is_forward) {
    small_collective(k);
    small_collective(k);
    k.tiny(2, gathers).tiny(2, gathers).read();  // cuts, and the sum of the map by expert, as 8 bytes
    if (choices.fuses_permute) {
      k.tiny(3, gathers).op(op).more_calls(beside::permute.forward);
    } else {
      k.tiny(2, gathers);
      masked_select(k);
      k.op(gathered(op));
    }
    k.tiny(2, gathers);
    masked_select(k);  // of weights
    return;
  }
  const bool is_sum = is_before != is_forward;
  const Beside& more = is_before ? beside::permute : beside::unpermute;
  if (choices.fuses_permute) {
    k.op(op).more_calls(beside_pass(more, op));
  } else if (is_sum) {
    k.op(in_launches(scattered(op), 2));
  } else {
    k.op(gathered(op));
  }
  if (!is_before || is_forward) return;
  k.tiny(5, gathers);  // gradients of weights by index, and of what was cut
  small_collective(k);
}

/// A product for each expert, launched in a loop in C++ (transformer_engine/common/gemm/cublaslt_gemm.cu:
/// multi_stream_cublas_gemm), or module by module (SequentialMLP).
void add_products(const Op& op, const Choices& choices, Kernels& k) {
  const std::vector<Op> products = separate_products(op);
  const auto count = static_cast<std::int64_t>(products.size());
  const bool is_weight = op.pass == OpPass::backward_weight;
  const bool is_forward = op.pass == OpPass::forward;
  const Time each{product_in_loop.count + (is_forward ? python_of_expert.count : 0)};
  const std::int64_t more = is_weight ? 0 : beside_pass(beside::product, op);
  std::int64_t calls = calls_of_loop(Time{count * each.count}, is_forward) + more;
  if (is_weight) calls += count * calls_of_hook;
  for (Op product : products) {
    product.kernel_class = op.kernel_class;
    k.op(std::move(product));
    if (choices.groups_gemm) {
      k.by_calls(std::exchange(calls, 0));
    } else {
      k.by_calls(1 + (is_weight ? calls_of_hook : more));
    }
  }
}

/// In fp8 and fp4 rows are padded to what tensor cores take, and cut back
/// (core/extensions/transformer_engine.py: Fp8Padding, Fp8Unpadding); capacities are taken to fit.
void add_padding(const Op& op, const Choices& choices, bool is_input, Kernels& k) {
  const bool is_narrow = bytes_each(op.precision) < bytes_each(Precision::bf16);
  if (!is_narrow || choices.pads_to_capacity || op.pass == OpPass::backward_weight) return;
  const bool is_forward = op.pass == OpPass::forward;
  const double width = real(is_input == is_forward ? op.k : op.n);
  k.add(kind::copy, all_rows(op) * width, 4, gathers);
  if (is_input) k.tiny(1, gathers);  // of weights
}

/// Biases of the second product, each times its row's weight, expert by expert (TEGroupedMLP._apply_bias).
void add_biases(const Op& op, Kernels& k) {
  const std::int64_t experts = with_rows(op);
  const double n = all_rows(op) * real(op.n);
  k.add(kind::mixed_row_factor, n, 4).launches(experts).add(kind::mixed, n, 10).launches(experts);
  k.add(kind::joined, n, 8).add(kind::vectorised, n, 6);
}

/// Their gradients, those of the weights, and of both biases' sums by the hook of DDP.
void add_bias_gradients(const Op& op, Kernels& k) {
  const std::int64_t experts = with_rows(op);
  const double n = all_rows(op) * real(op.k);
  k.add(kind::widened, n, 6).add(kind::vectorised, n, 6).launches(experts);
  k.add(kind::row_factor, n, 8).launches(experts).add(kind::column_sums, n, 4).launches(experts);
  k.add(kind::mixed, n, 10).launches(experts).add(kind::row_sums, n, 4).launches(experts);
  k.add(kind::joined, n, 4).tiny(1).tiny(2 * experts);
}

}  // namespace

/// Fused: one kernel for scores and choices (transformer_engine/common/fused_router).
void add_router(const Op& op, const Choices& choices, Kernels& k) {
  if (op.pass == OpPass::forward) {
    choices.fuses_router ? static_cast<void>(k.op(op).more_calls(beside::fused_router.forward))
                         : route(op, k);
    if (choices.pads_to_capacity) drop_tokens(k);
  } else if (choices.fuses_router) {
    k.op(op).more_calls(beside::fused_router.backward);
  } else {
    k.tiny(1, gathers).tiny(2).all(kind::fill_fp32, 4).tiny(1, gathers);
  }
  if (choices.aux_loss > 0) auxiliary_loss(op, choices.fuses_router, k);
}

void add_permute(const Op& op, const Choices& choices, std::vector<Op>& kernels) {
  Kernels k(op, kernels);
  const bool is_forward = op.pass == OpPass::forward;
  if (choices.is_flex() && is_exchanged(op)) {
    if (is_forward) prepare_dispatch(op, choices, k);
    return;
  }
  if (!is_forward) {
    k.op(choices.fuses_permute ? op : in_launches(scattered(op), 2)).more_calls(beside::permute.backward);
    if (!choices.fuses_permute) k.tiny(5, gathers);  // gradients of weights
    return;
  }
  choices.pads_to_capacity ? static_cast<void>(k.tiny(2)) : count_tokens(op, k);
  bring_rows(op, choices, kernels);
  if (choices.reads_counts()) read_counts(op, choices, k);
}

/// Chunks of rows from each rank into the order of local experts, and back (moe_utils.sort_chunks_by_idxs);
/// weights come by an exchange of their own.
void add_sort(const Op& op, const Choices& choices, std::vector<Op>& kernels) {
  if (choices.gathers_tokens()) return sort_of_gathered(op, choices, kernels);
  Kernels k(op, kernels);
  if (choices.is_flex()) return sort_of_flex(op, choices, k);
  const bool is_forward = op.pass == OpPass::forward, is_before = op.part == LayerPart::dispatch;
  if (is_before && is_forward) small_collective(k);
  const bool is_fused = choices.fuses_permute && !choices.pads_to_capacity;
  if (is_fused && is_forward) k.tiny(1, gathers);  // where chunks go
  k.op(op);
  if (is_fused) {
    k.more_calls(beside_pass(beside::sort, op));
  } else {
    const std::int64_t views = choices.pads_to_capacity ? 0 : 2 * op.k / views_of_a_call;
    k.by_calls(1 + views);
    if (is_before) k.tiny(1).by_calls(1 + views);  // of weights
  }
  if (is_before && !is_forward) small_collective(k);
}

/// Rows added up at their tokens (moe_utils.unpermute); until 0.13 times their weights.
void add_unpermute(const Op& op, const Choices& choices, Kernels& k) {
  const bool is_forward = op.pass == OpPass::forward;
  if (choices.is_flex() && is_exchanged(op)) return;  // the combine has done it
  if (choices.fuses_permute) {
    Op rows = op;
    if (!is_forward && choices.weighs_at_home()) rows.bytes += Bytes{2} * op.m * op.n;  // for their gradients
    k.op(std::move(rows)).more_calls(beside_pass(beside::unpermute, op));
    return;
  }
  if (!is_forward) {
    k.op(gathered(op));
    if (choices.weighs_at_home()) k.all(kind::broadcast, 4).all(kind::vectorised, 6).all(kind::row_sums, 2);
    return;
  }
  if (choices.weighs_at_home()) {
    k.add(kind::strided, pytorch::token_elements(op) / real(op.n), 4);
    masked_select(k);
    k.op(in_launches(scattered(op), 3));
    return;
  }
  Op sums = in_launches(op, 2);
  sums.adds_atomically = true;
  k.op(std::move(sums));
}

void add_experts(const Op& op, const Choices& choices, Kernels& k) {
  const bool is_first = op.columns[0] > 0, is_forward = op.pass == OpPass::forward;
  const bool is_input = op.pass == OpPass::backward_input;
  if (is_input && !is_first && op.bias) add_bias_gradients(op, k);
  if (is_first == is_forward) add_padding(op, choices, is_first, k);
  add_scales(op, choices, std::max<std::int64_t>(1, with_rows(op)), k);
  add_products(op, choices, k);
  if (is_first != is_forward && op.pass != OpPass::backward_weight) add_padding(op, choices, is_first, k);
  if (is_forward && !is_first && op.bias) add_biases(op, k);
  const bool joins = is_first ? is_input : is_forward;
  if (!choices.groups_gemm && joins) k.add(kind::joined, all_rows(op) * real(op.n), 4);
}

/// With the weights of rows (core/fusions/fused_bias_swiglu.py: weighted_bias_swiglu_impl), in one kernel, or
/// in one for each module of an expert.
void add_expert_activation(const Op& op, const Choices& choices, Kernels& k) {
  const std::int64_t modules = choices.groups_gemm ? 1 : std::max<std::int64_t>(1, with_rows(op));
  k.op(in_launches(op, modules)).more_calls(modules * beside_pass(beside::activation, op));
}

/// core/transformer/moe/shared_experts.py: sigmoid of one number a token, and its product.
void add_shared_gate(const Op& op, Kernels& k) {
  if (op.pass == OpPass::forward) {
    k.tiny(1).op(op);
  } else {
    k.all(kind::broadcast, 4).all(kind::vectorised, 6).all(kind::row_sums, 2).tiny(1);
  }
}

}  // namespace moesim::megatron
