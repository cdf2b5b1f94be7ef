#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>

#include "draw.hpp"
#include "grid_parts.hpp"

namespace measure {
namespace {

/// Width and depth of a linear layer.
struct Layer {
  Int n, k;
};

// Projections and experts of Mixtral-8x7B, Qwen3-30B-A3B and DeepSeek-V3, their routers, and a square.
constexpr Layer layers[] = {{6144, 4096}, {4096, 4096}, {28672, 4096}, {4096, 14336}, {5120, 2048},
                            {2048, 4096}, {1536, 2048}, {2048, 768},   {1536, 7168},  {24576, 1536},
                            {576, 7168},  {32768, 512}, {7168, 16384}, {4096, 7168},  {7168, 2048},
                            {8192, 8192}, {8, 4096},    {128, 2048},   {256, 7168},   {32, 7168}};
constexpr std::size_t fp8_layers = 16;  // routers stay bf16

Shape product(const char* pass, const char* precision, Int rows, Layer layer) {
  Shape shape{.op = "gemm", .pass = pass, .precision = precision};
  if (shape.pass == "forward")
    shape.m = rows, shape.n = layer.n, shape.k = layer.k;
  else if (shape.pass == "backward_input")
    shape.m = rows, shape.n = layer.k, shape.k = layer.n;
  else
    shape.m = layer.n, shape.n = layer.k, shape.k = rows;
  return shape;
}

constexpr const char* passes[] = {"forward", "backward_input", "backward_weight"};

}  // namespace

std::vector<Shape> dense(const char* precision) {
  const bool fp8 = std::string(precision) == "fp8";
  const std::vector<Int> forward =
      fp8 ? std::vector<Int>{16, 64, 128, 256, 512, 1024, 2048, 3008, 4096, 8192, 16384, 32768}
          : std::vector<Int>{1,    16,   64,   128,  192,  256,   512,   1000, 1024,
                             2048, 3000, 4096, 6000, 8192, 16384, 32768, 65536};
  const std::vector<Int> backward = fp8 ? std::vector<Int>{256, 1024, 2048, 4096, 8192}
                                        : std::vector<Int>{128, 512, 1024, 2048, 3000, 4096, 8192, 16384};
  std::vector<Shape> shapes;
  for (const char* pass : passes) {
    for (std::size_t i = 0; i < (fp8 ? fp8_layers : std::size(layers)); ++i)
      for (const Int rows : std::string(pass) == "forward" ? forward : backward)
        shapes.push_back(product(pass, precision, rows, layers[i]));
  }
  return shapes;
}

std::vector<Shape> scattered_dense(const char* precision, std::size_t count, std::uint32_t seed) {
  Draw draw(seed);
  const bool fp8 = std::string(precision) == "fp8";
  std::vector<Shape> shapes;
  while (shapes.size() < count) {
    const Layer layer{draw.spread(512, 28672, 64), draw.spread(512, 16384, 64)};
    const char* pass = draw.unit() < 0.5 ? passes[0] : draw.one_of(passes);
    const bool weight = std::string(pass) == "backward_weight";
    shapes.push_back(product(pass, precision, draw.spread(16, 32768, fp8 || weight ? 16 : 1), layer));
  }
  return shapes;
}

namespace {

/// Rows of experts that share `total`: even, or uneven with some empty.
std::vector<Int> shares(Draw& draw, Int experts, Int total, double skew) {
  std::vector<double> weights;
  double sum = 0;
  for (Int i = 0; i < experts; ++i) {
    const double weight = skew <= 0 ? 1 : std::exp(skew * (draw.unit() + draw.unit() - 1));
    weights.push_back(skew > 2 && draw.unit() < 0.15 ? 0 : weight);
    sum += weights.back();
  }
  std::vector<Int> rows;
  for (const double weight : weights)
    rows.push_back(sum > 0 ? static_cast<Int>(weight / sum * static_cast<double>(total)) : 1);
  if (*std::max_element(rows.begin(), rows.end()) == 0) rows[0] = total;
  return rows;
}

struct ExpertLayer {
  Int n, k, least, most;  ///< width, depth, experts
};
constexpr ExpertLayer expert_layers[] = {{28672, 4096, 1, 8}, {4096, 14336, 1, 8}, {1536, 2048, 8, 128},
                                         {2048, 768, 8, 128}, {4096, 7168, 2, 32}, {7168, 2048, 2, 32}};

Shape grouped_product(const char* pass, const char* precision, std::vector<Int> rows, Int n, Int k) {
  Shape shape{
      .op = "grouped_gemm", .pass = pass, .precision = precision, .n = n, .k = k, .rows = std::move(rows)};
  if (shape.precision == "fp8")
    for (Int& count : shape.rows) count = (count + 15) / 16 * 16;
  if (shape.pass == "backward_input") std::swap(shape.n, shape.k);
  return shape;
}

}  // namespace

std::vector<Shape> grouped(const char* precision) {
  Draw draw(11);
  const bool fp8 = std::string(precision) == "fp8";
  std::vector<Shape> shapes;
  for (const char* pass : passes) {
    for (const ExpertLayer& layer : expert_layers) {
      for (Int experts = layer.least; experts <= layer.most;
           experts *= std::string(pass) == "forward" && !fp8 ? 2 : 4) {
        for (const Int each : {32, 128, 512, 2048}) {
          if (each * experts > 65536 || (fp8 && each == 128)) continue;
          const double skew = each == 128 ? 1.0 : each == 2048 ? 2.5 : 0;
          shapes.push_back(grouped_product(pass, precision, shares(draw, experts, each * experts, skew),
                                           layer.n, layer.k));
        }
      }
    }
  }
  if (fp8) return shapes;
  // Rows as a router that is nearly balanced sends them, all experts of a model on one device.
  struct Routed {
    Int experts, top_k;
    ExpertLayer layers[2];
  };
  const Routed models[] = {{8, 2, {expert_layers[0], expert_layers[1]}},
                           {128, 8, {expert_layers[2], expert_layers[3]}},
                           {32, 8, {expert_layers[4], expert_layers[5]}}};
  for (const char* pass : passes)
    for (const Routed& model : models)
      for (const ExpertLayer& layer : model.layers)
        for (const Int tokens : {1024, 1800, 3000, 5000, 8000})
          shapes.push_back(grouped_product(
              pass, precision, shares(draw, model.experts, tokens * model.top_k, 0.3), layer.n, layer.k));
  return shapes;
}

std::vector<Shape> scattered_grouped(const char* precision, std::size_t count, std::uint32_t seed) {
  Draw draw(seed);
  constexpr double skews[] = {0, 0.5, 1, 2, 3};
  std::vector<Shape> shapes;
  while (shapes.size() < count) {
    const Int experts = draw.spread(2, 128);
    const Int widest = experts > 64 ? 4096 : experts > 16 ? 8192 : 28672;
    const Int n = draw.spread(1024, widest, 64), k = draw.spread(768, std::min<Int>(widest, 8192), 64);
    const Int total = std::min<Int>(65536, experts * draw.spread(16, 4096));
    shapes.push_back(grouped_product(draw.one_of(passes), precision,
                                     shares(draw, experts, total, draw.one_of(skews)), n, k));
  }
  return shapes;
}

}  // namespace measure
