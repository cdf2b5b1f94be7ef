#include "shape.hpp"

#include <numeric>

namespace measure {
namespace {

double real(Int count) { return static_cast<double>(count); }
Int total(const std::vector<Int>& rows) { return std::accumulate(rows.begin(), rows.end(), Int{0}); }

double product_bytes(const Shape& s) {
  const double in = s.precision == "fp8" ? 1 : 2;
  const double out = s.pass == "backward_weight" ? 8 : 2;  // adds to gradients in fp32
  if (s.op == "gemm")
    return (real(s.m) * real(s.k) + real(s.k) * real(s.n)) * in + real(s.m) * real(s.n) * out;
  double experts = 0;
  for (const Int rows : s.rows) experts += rows > 0 ? 1 : 0;
  const double all = real(total(s.rows));
  const double weights = experts * real(s.n) * real(s.k);
  if (s.pass == "backward_weight") return all * real(s.n + s.k) * in + weights * out;
  return (all * real(s.k) + weights) * in + all * real(s.n) * out;
}

double attention_bytes(const Shape& s) {
  const double queries = real(s.batch * s.sequence * s.heads), keys = real(s.batch * s.sequence * s.kv_heads);
  const double operands = 2 * (queries + keys) * real(s.head_dim + s.value_head_dim);
  return s.pass == "forward" ? operands + 4 * queries : 2 * operands + 12 * queries;
}

/// Scores of one head: half the square, or of each query as many as its window holds.
double scores_of(const Shape& s) {
  const double sequence = real(s.sequence);
  if (s.window <= 0 || s.window >= s.sequence) return sequence * sequence * (s.causal ? 0.5 : 1);
  const double window = real(s.window);
  return window * (sequence - window) + 0.5 * window * window;
}

std::string field(const char* name, Int value) {
  return value == 0 ? std::string() : ", \"" + std::string(name) + "\": " + std::to_string(value);
}

}  // namespace

double flops_of(const Shape& s) {
  if (s.op == "gemm") return 2 * real(s.m) * real(s.n) * real(s.k);
  if (s.op == "grouped_gemm") return 2 * real(total(s.rows)) * real(s.n) * real(s.k);
  if (s.op != "attention") return 0;
  return (s.pass == "forward" ? 2 : 4) * real(s.batch * s.heads) * scores_of(s) *
         real(s.head_dim + s.value_head_dim);
}

double bytes_of(const Shape& s) {
  if (s.op == "gemm" || s.op == "grouped_gemm") return product_bytes(s);
  if (s.op == "attention") return attention_bytes(s);
  if (s.op == "copy") return 2 * real(s.bytes);
  const double elements = real(s.row_count) * real(s.width);
  const bool forward = s.pass == "forward";
  if (s.op == "rms_norm") return elements * (forward ? 4 : 6);
  if (s.op == "swiglu") return elements * (forward ? 6 : 10);
  if (s.op == "router") return real(s.row_count) * (6 * real(s.experts) + (forward ? 8 : 12) * real(s.top_k));
  if (s.op == "permute" || s.op == "unpermute") return elements * 2 * (1 + 1 / real(s.top_k));
  if (s.op == "fp8_cast") return elements * 3;
  if (s.op == "rotary") return elements * 4;
  return elements * 6;  // residual: two read, one written
}

std::string keys_of(const Shape& s) {
  std::string text = "\"op\": \"" + s.op + "\", \"pass\": \"" + s.pass + "\"";
  const bool product = s.op == "gemm" || s.op == "grouped_gemm";
  if (product || s.op == "attention") text += ", \"precision\": \"" + s.precision + "\"";
  if (s.op == "grouped_gemm") {
    text += ", \"rows\": [";
    for (std::size_t i = 0; i < s.rows.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(s.rows[i]);
    text += "]";
  }
  text += field("m", s.m) + field("n", s.n) + field("k", s.k);
  text += field("batch", s.batch) + field("heads", s.heads) + field("kv_heads", s.kv_heads) +
          field("sequence", s.sequence) + field("head_dim", s.head_dim) +
          field("value_head_dim", s.value_head_dim);
  text += field("window", s.window);
  if (s.op == "attention") text += s.causal ? ", \"causal\": true" : ", \"causal\": false";
  if (s.op == "router")
    return text + field("tokens", s.row_count) + field("experts", s.experts) + field("top_k", s.top_k);
  const char* width = s.op == "swiglu" ? "width" : "hidden";
  return text + field("rows", s.row_count) + field(width, s.width) + field("top_k", s.top_k) +
         field("bytes", s.bytes);
}

}  // namespace measure
