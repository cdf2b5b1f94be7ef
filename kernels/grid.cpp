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
          {"attention", joined(attention(), scattered_attention(90, 25))}};
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

std::vector<Shape> contention_shapes() {
  return {{.op = "gemm", .m = 8192, .n = 8192, .k = 8192},
          {.op = "gemm", .m = 4096, .n = 4096, .k = 7168},
          {.op = "gemm", .m = 1024, .n = 4096, .k = 4096},
          {.op = "gemm", .m = 16384, .n = 1536, .k = 7168},
          {.op = "grouped_gemm", .n = 4096, .k = 7168, .rows = std::vector<Int>(8, 1024)},
          {.op = "grouped_gemm", .n = 7168, .k = 2048, .rows = {2048, 1500, 1024, 900, 700, 512, 300, 100}}};
}

}  // namespace measure
