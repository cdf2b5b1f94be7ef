#include "models/cost/op_line.hpp"

#include <fmt/format.h>

#include <array>
#include <numeric>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/transformer/access_laws.hpp"

namespace moesim {
namespace {

constexpr std::array<std::string_view, 14> names{
    "gemm",      "grouped_gemm", "attention", "rms_norm", "swiglu", "router",      "permute",
    "unpermute", "copy",         "fp8_cast",  "residual", "rotary", "elementwise", "streaming"};
enum class Name : std::uint8_t {
  gemm,
  grouped_gemm,
  attention,
  rms_norm,
  swiglu,
  router,
  permute,
  unpermute,
  copy,
  fp8_cast,
  residual,
  rotary,
  elementwise,
  streaming
};

constexpr std::array<std::string_view, 4> passes{"forward", "backward_input", "backward_weight", "backward"};
constexpr std::size_t whole_backward = 3;

// What is refused as no size at all; a product of sizes may still be too large for what is asked.
constexpr std::int64_t largest = std::int64_t{1} << 40, longest_sequence = std::int64_t{1} << 30;

std::int64_t count(Reader& reader, const char* name, const char* help, std::int64_t most = largest) {
  return reader.integer({.name = name, .help = help, .at_least = 1, .at_most = most});
}

Precision read_precision(Reader& reader) {
  return static_cast<Precision>(
      reader.choice({.name = "precision", .help = "of the operands", .fallback = "bf16"}, precision_names));
}

/// One linear layer's product: m rows, n outputs, k inputs of the forward pass where both of backward are
/// asked for.
std::vector<Op> read_gemm(Reader& reader, std::size_t pass) {
  const std::int64_t m = count(reader, "m", "rows"), n = count(reader, "n", "columns"),
                     k = count(reader, "k", "depth");
  const Precision precision = read_precision(reader);
  if (pass != whole_backward) return {make_gemm("gemm", static_cast<OpPass>(pass), m, n, k, precision)};
  return {make_gemm("gemm", OpPass::backward_input, m, k, n, precision),
          make_gemm("gemm", OpPass::backward_weight, n, k, m, precision)};
}

std::vector<Op> read_grouped(Reader& reader, std::size_t pass) {
  const std::vector<std::int64_t> rows = reader.integers(
      {.name = "rows", .help = "rows of each expert", .at_least = 0, .at_most = std::int64_t{1} << 30});
  if (rows.empty() && !reader.is_describing())
    reader.fail("rows", "is empty, expected the rows of each expert");
  if (std::accumulate(rows.begin(), rows.end(), std::int64_t{0}) == 0 && !reader.is_describing())
    reader.fail("rows", "are all 0, expected rows for at least one expert");
  const std::int64_t n = count(reader, "n", "columns"), k = count(reader, "k", "depth");
  const Precision precision = read_precision(reader);
  if (pass != whole_backward)
    return {make_grouped_gemm("grouped_gemm", static_cast<OpPass>(pass), rows, n, k, precision)};
  return {make_grouped_gemm("grouped_gemm", OpPass::backward_input, rows, k, n, precision),
          make_grouped_gemm("grouped_gemm", OpPass::backward_weight, rows, n, k, precision)};
}

Op read_attention(Reader& reader, bool backward) {
  AttentionShape shape;
  shape.batch = count(reader, "batch", "sequences");
  shape.heads = count(reader, "heads", "of queries");
  shape.kv_heads = reader.integer({.name = "kv_heads",
                                   .help = "of keys and values",
                                   .fallback = shape.heads,
                                   .at_least = 1,
                                   .at_most = largest});
  shape.sequence = count(reader, "sequence", "tokens of one", longest_sequence);
  shape.kv_sequence = shape.sequence;
  shape.head_dim = count(reader, "head_dim", "of queries and keys");
  shape.value_head_dim = reader.integer({.name = "value_head_dim",
                                         .help = "of values",
                                         .fallback = shape.head_dim,
                                         .at_least = 1,
                                         .at_most = largest});
  shape.causal =
      reader.flag({.name = "causal", .help = "whether a token sees those before it alone", .fallback = true});
  shape.window = reader.integer({.name = "window",
                                 .help = "keys that a causal query sees, its own the last; 0: all before it",
                                 .fallback = 0,
                                 .at_least = 0,
                                 .at_most = longest_sequence});
  if (shape.window > 0 && !shape.causal && !reader.is_describing())
    reader.fail("window", fmt::format("is {}, expected 0 where causal is false", shape.window));
  return make_attention(backward ? OpPass::backward_input : OpPass::forward, shape, read_precision(reader));
}

Op read_routing(Reader& reader, OpPass pass) {
  const std::int64_t tokens = count(reader, "tokens", "rows"),
                     experts = count(reader, "experts", "to choose from");
  const std::int64_t top_k =
      reader.integer({.name = "top_k", .help = "experts of a token", .at_least = 1, .at_most = experts});
  // Logits in bf16, probabilities in fp32, a weight and an index for each choice, its gradient in backward.
  const double choice =
      (pass == OpPass::forward ? 8 : 12) * static_cast<double>(top_k) / static_cast<double>(experts);
  Op op = make_streaming(OpKind::router, "router", pass, tokens, experts, 6 + choice);
  op.top_k = top_k;
  return op;
}

Op read_streaming(Reader& reader, Name name, OpPass pass) {
  const bool forward = pass == OpPass::forward;
  if (name == Name::copy)
    return make_streaming(OpKind::copy, "copy", pass, count(reader, "bytes", "to copy"), 1, 2);
  const std::int64_t rows = count(reader, "rows", "of the matrix");
  const std::int64_t width = count(reader, name == Name::swiglu ? "width" : "hidden", "elements of a row");
  if (name == Name::rms_norm)
    return make_streaming(OpKind::rms_norm, "rms_norm", pass, rows, width, forward ? 4 : 6);
  if (name == Name::swiglu)
    return make_streaming(OpKind::swiglu, "swiglu", pass, rows, width, forward ? 6 : 10);
  if (name == Name::permute || name == Name::unpermute) {
    const std::int64_t top_k = reader.integer(
        {.name = "top_k", .help = "experts of a token", .fallback = 1, .at_least = 1, .at_most = largest});
    const OpKind kind = name == Name::permute ? OpKind::permute : OpKind::unpermute;
    Op op = make_streaming(kind, at(names, name), pass, rows, width, 2 + 2 / static_cast<double>(top_k));
    op.top_k = top_k;
    return op;
  }
  const double bytes = name == Name::fp8_cast ? 3 : name == Name::rotary ? 4 : 6;
  return make_streaming(OpKind::elementwise, at(names, name), pass, rows, width, bytes);
}

/// A kernel of common software.
Op read_by_access(Reader& reader, OpPass pass) {
  const std::span<const std::string_view> known = pytorch::access_names();
  const std::size_t which = reader.choice({.name = "access", .help = "how it goes over memory"}, known);
  Op op = make_streaming(OpKind::elementwise, "streaming", pass, count(reader, "elements", "of the result"),
                         1, 0);
  op.bytes = Bytes{count(reader, "bytes", "read and written")};
  op.kernels = reader.integer(
      {.name = "kernels", .help = "launches", .fallback = 1, .at_least = 1, .at_most = longest_sequence});
  op.access = *pytorch::access_named(at(known, which));
  return op;
}

std::vector<Op> read_sizes(Reader& reader) {
  const auto name = static_cast<Name>(reader.choice({.name = "op", .help = "kind of operation"}, names));
  const std::size_t pass =
      reader.choice({.name = "pass", .help = "of training", .fallback = "forward"}, passes);
  if (name == Name::gemm) return read_gemm(reader, pass);
  if (name == Name::grouped_gemm) return read_grouped(reader, pass);
  const bool backward = pass != 0;
  if (name == Name::attention) return {read_attention(reader, backward)};
  const OpPass direction = backward ? OpPass::backward_input : OpPass::forward;
  if (name == Name::router) return {read_routing(reader, direction)};
  if (name == Name::streaming) return {read_by_access(reader, direction)};
  return {read_streaming(reader, name, direction)};
}

}  // namespace

std::vector<Op> read_ops(Reader& reader) {
  try {
    return read_sizes(reader);
  } catch (const RunError& error) {
    reader.fail("", error.what());
  }
}

}  // namespace moesim
