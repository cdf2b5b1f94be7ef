// One operation of a transformer on one device: kind and shape, from which its FLOPs and bytes follow. An op
// knows no time and no rank.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "models/base/precision.hpp"
#include "models/base/units.hpp"

namespace moesim {

/// What an op does. Names are those of `moesim cost`.
enum class OpKind : std::uint8_t {
  gemm,          ///< m x n x k
  grouped_gemm,  ///< rows[i] x n x k for each local expert i
  attention,     ///< scores, softmax, weighted values (fused)
  rms_norm,      ///< rows x width: read, write
  swiglu,        ///< rows x width (of one half): read both halves, write one
  router,        ///< rows tokens, n experts, top_k: softmax and choice (its GEMM is an op of its own)
  permute,       ///< rows x width into expert order: a token's row is read once and written top_k times
  unpermute,     ///< rows x width results summed top_k by top_k back into token order
  elementwise,   ///< anything that only streams memory: residual adds, casts, embedding rows, optimizer
  copy,          ///< bytes read and written once
};
inline constexpr std::size_t op_kind_count = 10;
inline constexpr std::array<std::string_view, op_kind_count> op_kind_names{
    "gemm",   "grouped_gemm", "attention", "rms_norm",    "swiglu",
    "router", "permute",      "unpermute", "elementwise", "copy"};

/// Which part of training an op belongs to.
enum class OpPass : std::uint8_t { forward, backward_input, backward_weight };

/// What an op of a layer is for.
enum class LayerPart : std::uint8_t { attention, router, dispatch, feed_forward, combine };
inline constexpr std::size_t layer_part_count = 5;

/// What an op is in the code of a model: software decides by it which kernels run.
enum class Module : std::uint8_t {
  projection,  ///< one product
  experts,     ///< the products of all local experts
  norm,
  rotary,
  core,  ///< of attention
  residual,
  activation,  ///< of a dense or shared feed-forward
  expert_activation,
  router,
  permute,    ///< rows into the order of destinations; backward adds them up
  sort,       ///< rows that arrived into the order of experts, and back
  unpermute,  ///< the sum over a token's experts; backward spreads it
  shared_gate,
  embedding,
  dropout,
  loss,
  cast,
  update,         ///< of parameters
  gradient_sums,  ///< gradients of a microbatch added to those before
  bucket_in,      ///< gradients into a bucket that is sent, divided by the ranks
  bucket_out,     ///< their sums back
  shards_in,      ///< shards of parameters into a flat buffer, in the precision in which they are sent
  gathered_out,   ///< gathered shards into parameters
  gradients_in,   ///< gradients into parts for each rank, in the precision in which they are summed
  gradients_out,  ///< what a rank got of their sums, cast for its shards or added to the sum so far
  other,
};
inline constexpr std::size_t module_count = 26;
inline constexpr std::array<std::string_view, module_count> module_names{
    "projection",    "experts",   "norm",          "rotary",
    "core",          "residual",  "activation",    "expert_activation",
    "router",        "permute",   "sort",          "unpermute",
    "shared_gate",   "embedding", "dropout",       "loss",
    "cast",          "update",    "gradient_sums", "bucket_in",
    "bucket_out",    "shards_in", "gathered_out",  "gradients_in",
    "gradients_out", "other"};

/// Kernels that have a law in common, as profiles tell them apart.
enum class KernelClass : std::uint8_t {
  products,
  grouped,  ///< products of several experts
  attention,
  streaming,
  gather_scatter,  ///< rows by index, sorting
  loss,
  update,
  host,  ///< no kernel: gaps between kernels
};
inline constexpr std::size_t kernel_class_count = 8;
inline constexpr std::array<std::string_view, kernel_class_count> kernel_class_names{
    "products", "grouped", "attention", "streaming", "gather_scatter", "loss", "update", "host"};

/// How an update goes over the tensors that it changes.
enum class Walk : std::uint8_t {
  fused,    ///< one kernel has all of the mathematics, over many tensors
  lists,    ///< a kernel for each step of the mathematics, over many tensors ("foreach")
  tensors,  ///< a kernel for each step and each tensor
};

/// What a kernel of an update does with elements.
enum class UpdateStep : std::uint8_t {
  whole,       ///< all of an optimizer's mathematics
  map,         ///< reads some, writes some
  widen,       ///< bf16 to fp32
  scale,       ///< multiplies by a number that lies on the device
  sum,         ///< adds up squares: of all elements, or of rows
  sum_rows,    ///< adds up squares of columns, row by row
  outer,       ///< a matrix out of a row and a column
  transposed,  ///< reads or writes a matrix the other way
};

/// How a kernel goes over memory, where it is no fused one: after `start` it takes the longer of its bytes at
/// `share` of the device's bandwidth and its m x n elements at `per_cycle` on each multiprocessor.
struct Access {
  double share = 0;      ///< 0: as fused kernels do
  double per_cycle = 0;  ///< 0: bytes alone count
  Time start{};
  std::string_view name{};  ///< of this way, static text; empty for fused kernels
};

/// What a tensor-parallel group sends for a product: its input is gathered before it, or the group's results
/// are added up behind it.
enum class TensorCall : std::uint8_t { none, before, behind };

/// What a norm is of: what goes on beside it in the residual stream, heads of queries and keys, a latent, or
/// the last layer's result, which goes nowhere else.
enum class NormOf : std::uint8_t { stream, heads, latent, last };

/// One operation. Fields that a kind does not use stay at their default.
struct Op {
  OpKind kind = OpKind::gemm;
  std::string_view name;  ///< "q_a down-projection": static text, for tables
  OpPass pass = OpPass::forward;
  LayerPart part = LayerPart::attention;
  Module module = Module::other;
  NormOf norm_of = NormOf::stream;
  TensorCall tensor_call = TensorCall::none;
  KernelClass kernel_class = KernelClass::streaming;
  std::uint8_t core = 0;                  ///< attention: which of its block's cores the kernel belongs to
  Precision precision = Precision::bf16;  ///< of the operands of a product
  std::int64_t m = 0, n = 0, k = 0;       ///< product: rows, columns, depth; else m rows of n, and of a
                                          ///< cast k is the other side of its product
  /// Rows per expert: of a grouped_gemm (its depth, for weight gradients), of experts' activation, of what
  /// brings rows to experts and back where all of them are here.
  std::vector<std::int64_t> rows;
  bool rows_are_depth = false;  ///< grouped weight gradient: each product is n x k over rows[i]
  std::int64_t batch = 0, heads = 0, kv_heads = 0, sequence = 0, kv_sequence = 0, head_dim = 0,
               value_head_dim = 0;
  std::int64_t window = 0;  ///< attention: 0 is the whole sequence
  bool causal = true;
  bool dropout = false;  ///< attention: of the weights; a fused kernel draws it again in backward
  bool sinks = false;    ///< attention: each head has one more score, which weighs no value
  bool bias = false;     ///< product: a number is added to each column; also of the activation between two
  bool of_norm = false;  ///< product: its input is a norm's output, not what an attention or activation gave
  bool stops = false;    ///< of a layer that is computed again: nothing waits for what it computes last
  std::int64_t top_k = 1;
  std::int64_t groups = 1;  ///< router and its product: of experts, some of which are chosen first
  Flops flops;  ///< of products, as the mathematics needs them (causal attention counts half the square);
                ///< else zero
  Bytes bytes;  ///< read and written in device memory, each operand once
  std::int64_t kernels = 1;    ///< launches that it takes
  std::int64_t calls = -1;     ///< of the host that launch them; below 0: one each
  std::int64_t waits = 0;      ///< of the host for the device, after its launches: it reads a result
  bool waits_in_call = false;  ///< only when the host has come to the exchange that follows the block
  double passes = 1;           ///< how often its bytes are moved
  Access access{};
  Walk walk = Walk::fused;                     ///< of an update
  UpdateStep update_step = UpdateStep::whole;  ///< of an update
  double kept = 0;                             ///< forward: bytes that fused kernels keep for backward
  /// Columns (forward) of the matrices that a product has side by side; zeros: it has one. Eager code takes
  /// them one by one, but for those of experts.
  std::array<std::int64_t, 3> columns{};
  bool again = false;            ///< forward: computed once more for backward
  bool adds_atomically = false;  ///< each of its m x n elements to a sum in memory, by itself
};

/// What software keeps for backward.
class Keeping {
 public:
  virtual ~Keeping() = default;
  /// Bytes that a forward op keeps.
  virtual double kept_by(const Op& op) const { return op.kept; }
  /// Whether memory is held from when it is computed until it is let go of, as autograd does: gradients come
  /// one by one in the first backward of a step, a layer that is computed again is held until its backward
  /// ends, and kernels hold working_bytes(). Else gradients are there from step to step, and of the rest only
  /// what is kept is counted.
  virtual bool holds_as_computed() const { return false; }
  /// Whether inputs that a tensor-parallel group has gathered stay whole until their weight gradient; else
  /// each rank keeps its part, and they are gathered again.
  virtual bool keeps_gathered() const { return false; }
  /// Bytes that the kernels of an op hold at their worst, beside its inputs and what is kept for backward.
  virtual double working_bytes(const Op&) const { return 0; }
};

/// Whether kernels are fused, where that decides what is held from forward to backward.
struct Fusion {
  bool attention = true;    ///< else the scores after softmax are written, and after dropout once more
  bool permutation = true;  ///< else results of experts are multiplied with their weights at home
};

/// Constructors that fill in FLOPs and bytes; they throw RunError for more bytes than 64 bits hold. A product
/// with fp8 operands writes bf16; one of the weight pass adds to gradients in fp32, which it reads and
/// writes.
Op make_gemm(std::string_view name, OpPass pass, std::int64_t m, std::int64_t n, std::int64_t k,
             Precision precision);
/// `rows` per local expert; each is an (rows x n x k) product, or in the weight pass (n x k over rows). An
/// expert without rows moves nothing.
Op make_grouped_gemm(std::string_view name, OpPass pass, std::vector<std::int64_t> rows, std::int64_t n,
                     std::int64_t k, Precision precision);
/// The shape of an attention. Causal queries are the last `sequence` of `kv_sequence` tokens, each sees the
/// keys up to its own: at most `window` of them, where that is above 0.
struct AttentionShape {
  std::int64_t batch = 1, heads = 1, kv_heads = 1, sequence = 1, kv_sequence = 1, head_dim = 1,
               value_head_dim = 1;
  std::int64_t window = 0;
  bool causal = true;
  bool dropout = false;
  bool sinks = false;
};
/// Forward: two products (scores, weighted values). Backward: the four of the mathematics, twice the
/// forward's FLOPs; that fused kernels compute the scores once more (2.5 times, FlashAttention-2, arXiv
/// 2307.08691 section 4.1) is not counted. All of backward stands in the input pass.
Op make_attention(OpPass pass, const AttentionShape& shape, Precision precision);
/// Memory-bound ops: `rows` x `width` elements with `bytes_per_element` moved in all (reads and writes added
/// up).
Op make_streaming(OpKind kind, std::string_view name, OpPass pass, std::int64_t rows, std::int64_t width,
                  double bytes_per_element, Module module = Module::other);

}  // namespace moesim
