// An operation as `moesim cost` names it, and its line of JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace measure {

using Int = std::int64_t;

inline std::size_t size(Int count) { return static_cast<std::size_t>(count); }

/// Fields that an operation does not use stay at their default and are not written.
struct Shape {
  std::string op;
  std::string pass = "forward";
  std::string precision = "bf16";
  Int m = 0, n = 0, k = 0;  ///< products
  std::vector<Int> rows{};  ///< grouped products: rows of each expert
  Int batch = 0, heads = 0, kv_heads = 0, sequence = 0, head_dim = 0, value_head_dim = 0;
  bool causal = true;
  Int window = 0;              ///< attention: keys that a causal query sees, its own the last; 0: all before
  Int row_count = 0;           ///< what streams: rows
  Int width = 0;               ///< and elements of one row
  Int experts = 0, top_k = 0;  ///< router, unpermute
  Int bytes = 0;               ///< copies: bytes copied
};

/// Floating-point operations that the mathematics needs.
double flops_of(const Shape& shape);
/// Bytes of device memory read and written, each operand once.
double bytes_of(const Shape& shape);
/// `"op": "gemm", "m": 1024, ...`: the keys of `moesim cost`, without braces.
std::string keys_of(const Shape& shape);

}  // namespace measure
