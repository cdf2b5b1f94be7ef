// A block under construction: ops in the order of the forward pass, each followed by its backward, with what
// is kept and what is computed again. Backward comes out in reverse.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/base/scaling.hpp"
#include "models/transformer/layer_ops.hpp"

namespace moesim {

/// Bytes of one element in bf16.
inline constexpr double bf16_bytes = 2;
/// Bytes of one element in fp8 with one fp32 scale per 128 elements (DeepSeek-V3, arXiv 2412.19437,
/// section 3.3.2), as rows are sent.
inline constexpr double fp8_bytes = 1 + 4.0 / 128;

/// Bytes of one element of a message.
constexpr double element_bytes(Precision precision) {
  return precision == Precision::fp8 ? fp8_bytes : bytes_each(precision);
}
/// Bytes of one element of an operand, with so many of scales for each number in fp8.
constexpr double operand_bytes(Precision precision, double fp8_scale) {
  if (precision == Precision::fp4) return nvfp4_bytes;
  return bytes_each(precision) + (precision == Precision::fp8 ? fp8_scale : 0);
}
constexpr double operand_bytes(const Share& share) { return operand_bytes(share.gemm, share.fp8_scale); }
/// Whether operands are cast to it.
constexpr bool is_narrow(Precision precision) {
  return precision == Precision::fp8 || precision == Precision::fp4;
}

/// Bytes that dropout of a block's result adds to each of its elements. Forward it is fused with the residual
/// and writes a mask; backward it reads the gradient and the mask, and writes the gradient of what was added.
struct Dropout {
  double forward = 0, backward = 0, kept = 0;
};
constexpr Dropout dropout_of(const Share& share) {
  return share.dropout ? Dropout{.forward = 1, .backward = 5, .kept = 1} : Dropout{};
}

/// The largest part of `total` divided over `parts`.
constexpr std::int64_t part_of(std::int64_t total, std::int64_t parts) { return (total + parts - 1) / parts; }

/// Rows of each local expert, where they are all that the device sends out; else none.
std::vector<std::int64_t> rows_of_all(const Share& share);

/// Says of an op between tokens and experts how many groups of tokens (`batch`) of which size (`sequence`,
/// the largest) fill buffers of their own.
void group_tokens(Op& op, const Share& share);

/// Throws std::logic_error for sizes below 1 and layers that are none.
void check_share(const Share& share);
void check_share(const Model& model, std::size_t layer, const Share& share);

/// What becomes of a norm's output: held for backward, computed again by this block, or by another that needs
/// it first.
enum class NormOutput : std::uint8_t { kept, again, again_elsewhere };

/// A projection: `rows` x `width` = (`rows` x `depth`) times weights.
struct Projection {
  std::string_view name;
  std::int64_t rows = 0, width = 0, depth = 0;
  Precision precision = Precision::bf16;
  bool quantised = false;                     ///< its input arrives in fp8 already, as its operand is
  bool shares_input = false;                  ///< an earlier product cast the same input, along both axes
  bool gradient_quantised = false;            ///< the gradient of its output does
  bool input_again = false;                   ///< its input is recomputed, and with fp8 cast again
  bool product_again = false;                 ///< its output is recomputed
  std::int64_t kept_rows = 0;                 ///< of its input, where each rank keeps a part of it; 0: all
  bool input_is_held = false;                 ///< by an earlier product, for the weight gradient of both
  std::array<std::int64_t, 3> columns{};      ///< Op::columns
  bool bias = false, of_norm = false;         ///< as in Op
  std::int64_t groups = 1, top_k = 1;         ///< as in Op
  TensorCall tensor_call = TensorCall::none;  ///< forward; the gradient of what is added up is gathered
  std::span<const std::int64_t> experts{};    ///< rows of each, whose casts are their own
};

/// Collects the ops of a block. Ops that move nothing are dropped.
class Block {
 public:
  explicit Block(const Share& share, LayerPart part = LayerPart::attention)
      : part_(part), fp8_scale_(share.fp8_scale) {}

  /// What comes from now on is for that part of the layer.
  void serve(LayerPart part) { part_ = part; }
  /// Appends an op of the forward pass; `again` also runs it before the block's backward.
  void forward(Op op, bool again = false);
  /// Appends an op of a backward pass. Of the ops of one step, the last to run is given first.
  void backward(Op op);
  /// Runs an op before the block's backward that is not in its forward.
  void run_again(Op op);
  /// Adds bytes held from forward to backward, by the last op of the forward pass so far.
  void keep(double bytes);
  /// What of the block, one of that layer, goes to the host.
  void send_to_host(const Offload& offload, std::size_t layer) {
    offload_ = offload;
    sends_all_ = offload.takes_whole(layer);
  }
  /// Of what is kept: one tensor, which goes to the host where that module's input does.
  void leave(OffloadModule module, double elements, double bytes_each) {
    leaving_.push_back({module, elements, bytes_each});
  }
  /// Adds bytes that a weight gradient reads.
  void keep_for_weight(double bytes) { for_weight_ += bytes; }

  /// A matrix product with fp8 casts where its precision asks for them.
  void project(const Projection& projection);
  /// The same for all local experts; `projection.rows` is their sum.
  void project_grouped(const Projection& projection, std::span<const std::int64_t> rows);
  /// A norm that keeps its input (bf16), and its output in `precision` unless that is recomputed.
  void norm(std::string_view name, std::int64_t rows, std::int64_t width, Precision precision,
            NormOutput output, NormOf of = NormOf::stream);
  /// SwiGLU (`gated`) or GELU, fused with bias and routing weights.
  struct Activation {
    Module module = Module::activation;
    std::int64_t rows = 0, width = 0;
    bool gated = true, bias = false, again = false;
    std::span<const std::int64_t> experts{};  ///< rows of each
  };
  void activation(const Activation& activation);
  /// An op that only moves memory, with the bytes per element it moves forward and backward.
  void stream(OpKind kind, Module module, std::string_view name, std::int64_t rows, std::int64_t width,
              double forward_bytes, double backward_bytes);

  /// The block's ops by pass; call it once. `full`: all of forward again, and only `input_bytes` kept.
  BlockOps finish(const Share& share, bool full, double input_bytes);
  /// The same where all but the sum with the residual stream is computed again, behind what runs again
  /// before it, and only `kept` bytes are kept.
  BlockOps finish_module(const Share& share, double kept);

 private:
  double operand(Precision precision) const { return operand_bytes(precision, fp8_scale_); }
  Op cast(const Projection& projection, OpPass pass, std::int64_t width, double read) const;
  void append(std::vector<Op>& to, Op op) const;
  void add_forward_cast(const Projection& projection);
  void add_input_cast(const Projection& projection);
  void add_weight_casts(const Projection& projection);
  void keep_for_weight(const Projection& projection);
  double kept_by(const Keeping& keeping) const;
  void hold_as_computed(const Keeping& keeping, bool full, double input_bytes, BlockOps& ops) const;
  double leaving() const;

  LayerPart part_;
  double fp8_scale_;
  std::vector<Op> forward_, again_;
  std::vector<Op> backward_input_, backward_weight_;  ///< last to run first
  double kept_ = 0, for_weight_ = 0;
  double kept_by_none_ = 0;  ///< before the first op
  struct Leaving {
    OffloadModule module;
    double elements, bytes_each;
  };
  std::vector<Leaving> leaving_;
  Offload offload_;
  bool sends_all_ = false;
};

/// Ops of a layer's routing, from its product to rows in the order of their destinations, once more before
/// the block's backward.
void route_again(Block& block, const Model& model, std::size_t layer, const Share& share);

}  // namespace moesim
