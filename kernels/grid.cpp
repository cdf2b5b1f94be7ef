#include "grid.hpp"

#include "grid_parts.hpp"

namespace measure {
namespace {

std::vector<Shape> joined(std::vector<Shape> a, const std::vector<Shape>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

std::vector<Section> grid() {
  return {{"memory-bound", joined(streaming(), scattered_streaming(160, 21))},
          {"GEMM in bf16", joined(dense("bf16"), scattered_dense("bf16", 340, 22))},
          {"GEMM in fp8", joined(dense("fp8"), scattered_dense("fp8", 320, 23))},
          {"grouped GEMM in bf16", joined(grouped("bf16"), scattered_grouped("bf16", 300, 24))},
          {"grouped GEMM in fp8", joined(grouped("fp8"), scattered_grouped("fp8", 100, 26))},
          {"attention", joined(attention(), scattered_attention(80, 25))}};
}

std::vector<Section> held_out() {
  return {{"held out: memory-bound", scattered_streaming(100, 71)},
          {"held out: GEMM in bf16", scattered_dense("bf16", 80, 72)},
          {"held out: GEMM in fp8", scattered_dense("fp8", 40, 73)},
          {"held out: grouped GEMM in bf16", scattered_grouped("bf16", 60, 74)},
          {"held out: grouped GEMM in fp8", scattered_grouped("fp8", 30, 76)},
          {"held out: attention", scattered_attention(30, 75)}};
}

std::vector<Section> thinned(const std::vector<Section>& sections, std::size_t step) {
  std::vector<Section> thin;
  for (const Section& section : sections) {
    thin.push_back({section.name, {}});
    for (std::size_t i = 0; i < section.shapes.size(); i += step)
      thin.back().shapes.push_back(section.shapes[i]);
  }
  return thin;
}

std::vector<Shape> contention_shapes(bool quick) {
  const auto attention = [](const char* pass, Int heads, Int kv_heads, Int size) {
    return Shape{.op = "attention",
                 .pass = pass,
                 .batch = 1,
                 .heads = heads,
                 .kv_heads = kv_heads,
                 .sequence = 4096,
                 .head_dim = size,
                 .value_head_dim = 128};
  };
  const std::vector<Int> even(8, 1024), uneven{2048, 1500, 1024, 900, 700, 512, 300, 100};
  const std::vector<Shape> shapes{
      {.op = "gemm", .m = 8192, .n = 8192, .k = 8192},
      {.op = "grouped_gemm", .n = 4096, .k = 7168, .rows = even},
      attention("forward", 32, 8, 128),
      {.op = "copy", .bytes = Int{1} << 28},
      {.op = "gemm", .m = 4096, .n = 4096, .k = 7168},
      {.op = "gemm", .m = 1024, .n = 4096, .k = 4096},
      {.op = "gemm", .m = 16384, .n = 1536, .k = 7168},
      {.op = "gemm", .pass = "backward_weight", .m = 7168, .n = 2048, .k = 8192},
      {.op = "gemm", .precision = "fp8", .m = 8192, .n = 8192, .k = 8192},
      {.op = "gemm", .precision = "fp8", .m = 4096, .n = 4096, .k = 7168},
      {.op = "grouped_gemm", .n = 7168, .k = 2048, .rows = uneven},
      {.op = "grouped_gemm", .precision = "fp8", .n = 4096, .k = 7168, .rows = even},
      attention("backward_input", 32, 8, 128),
      attention("forward", 16, 16, 192),
      attention("backward_input", 16, 16, 192),
      {.op = "copy", .bytes = Int{1} << 24},
      {.op = "rms_norm", .row_count = 8192, .width = 7168},
      {.op = "rms_norm", .pass = "backward_input", .row_count = 8192, .width = 4096},
      {.op = "swiglu", .row_count = 32768, .width = 2048},
      {.op = "permute", .row_count = 65536, .width = 4096, .top_k = 8}};
  return quick ? std::vector<Shape>(shapes.begin(), shapes.begin() + 4) : shapes;
}

std::vector<int> contention_counts(bool quick) {
  return quick ? std::vector<int>{8, 20, 48} : std::vector<int>{4, 8, 12, 16, 20, 24, 32, 48};
}

}  // namespace measure
