#include "grid.hpp"

#include <algorithm>
#include <cmath>
#include <random>

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

/// Draws numbers; the same seed gives the same shapes everywhere.
class Draw {
 public:
  explicit Draw(std::uint32_t seed) : random_(seed) {}
  double unit() { return static_cast<double>(random_()) / 4294967296.0; }
  Int below(Int count) { return static_cast<Int>(unit() * static_cast<double>(count)); }
  /// Evenly spread logarithms, rounded to multiples of `step`.
  Int spread(Int low, Int high, Int step = 1) {
    const double value =
        static_cast<double>(low) * std::pow(static_cast<double>(high) / static_cast<double>(low), unit());
    return std::max<Int>(step, std::llround(value / static_cast<double>(step)) * step);
  }
  template <class T, std::size_t N>
  T one_of(const T (&items)[N]) {
    return items[static_cast<std::size_t>(below(N))];
  }

 private:
  std::mt19937 random_;
};

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

Shape grouped_product(const char* pass, std::vector<Int> rows, Int n, Int k) {
  Shape shape{.op = "grouped_gemm", .pass = pass, .n = n, .k = k, .rows = std::move(rows)};
  if (shape.pass == "backward_input") std::swap(shape.n, shape.k);
  return shape;
}

std::vector<Shape> grouped() {
  Draw draw(11);
  std::vector<Shape> shapes;
  for (const char* pass : passes) {
    for (const ExpertLayer& layer : expert_layers) {
      for (Int experts = layer.least; experts <= layer.most;
           experts *= std::string(pass) == "forward" ? 2 : 4) {
        for (const Int each : {32, 128, 512, 2048}) {
          if (each * experts > 65536) continue;
          const double skew = each == 128 ? 1.0 : each == 2048 ? 2.5 : 0;
          shapes.push_back(
              grouped_product(pass, shares(draw, experts, each * experts, skew), layer.n, layer.k));
        }
      }
    }
  }
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
          shapes.push_back(grouped_product(pass, shares(draw, model.experts, tokens * model.top_k, 0.3),
                                           layer.n, layer.k));
  return shapes;
}

std::vector<Shape> scattered_grouped(std::size_t count, std::uint32_t seed) {
  Draw draw(seed);
  constexpr double skews[] = {0, 0.5, 1, 2, 3};
  std::vector<Shape> shapes;
  while (shapes.size() < count) {
    const Int experts = draw.spread(2, 128);
    const Int widest = experts > 64 ? 4096 : experts > 16 ? 8192 : 28672;
    const Int n = draw.spread(1024, widest, 64), k = draw.spread(768, std::min<Int>(widest, 8192), 64);
    const Int total = std::min<Int>(65536, experts * draw.spread(16, 4096));
    shapes.push_back(
        grouped_product(draw.one_of(passes), shares(draw, experts, total, draw.one_of(skews)), n, k));
  }
  return shapes;
}

struct Heads {
  Int heads, kv_heads, size, value;
};
constexpr Heads head_shapes[] = {{32, 8, 128, 128}, {32, 4, 128, 128},    {64, 8, 128, 128},
                                 {64, 64, 64, 64},  {128, 128, 192, 128}, {16, 16, 192, 128}};

Shape attention_of(bool backward, Int batch, const Heads& h, Int sequence, bool causal) {
  return {.op = "attention",
          .pass = backward ? "backward_input" : "forward",
          .batch = batch,
          .heads = h.heads,
          .kv_heads = h.kv_heads,
          .sequence = sequence,
          .head_dim = h.size,
          .value_head_dim = h.value,
          .causal = causal};
}

std::vector<Shape> attention() {
  std::vector<Shape> shapes;
  for (const bool backward : {false, true}) {
    for (const Heads& heads : head_shapes) {
      for (Int sequence = 512; sequence <= 16384; sequence *= 2)
        shapes.push_back(attention_of(backward, 1, heads, sequence, true));
      shapes.push_back(attention_of(backward, 4, heads, 1024, true));
      shapes.push_back(attention_of(backward, 2, heads, 4096, true));
      shapes.push_back(attention_of(backward, 1, heads, 2048, false));
      shapes.push_back(attention_of(backward, 1, heads, 8192, false));
    }
  }
  return shapes;
}

std::vector<Shape> scattered_attention(std::size_t count, std::uint32_t seed) {
  Draw draw(seed);
  std::vector<Shape> shapes;
  while (shapes.size() < count) {
    Heads heads = draw.one_of(head_shapes);
    const Int divisor = heads.heads == heads.kv_heads ? draw.spread(1, 8) : 1;
    heads.heads /= divisor, heads.kv_heads = std::max<Int>(1, heads.kv_heads / divisor);
    shapes.push_back(attention_of(draw.unit() < 0.5, draw.spread(1, 6), heads, draw.spread(512, 8192, 128),
                                  draw.unit() < 0.75));
  }
  return shapes;
}

std::vector<Shape> streaming() {
  std::vector<Shape> shapes;
  const auto add = [&](const char* op, Int rows, Int width, Int experts, Int top_k, bool both) {
    for (const bool backward : {false, true}) {
      if (backward && !both) continue;
      shapes.push_back({.op = op,
                        .pass = backward ? "backward_input" : "forward",
                        .row_count = rows,
                        .width = width,
                        .experts = experts,
                        .top_k = top_k});
    }
  };
  for (const Int rows : {256, 1024, 3000, 8192, 32768}) {
    for (const Int width : {512, 1536, 2048, 4096, 7168}) add("rms_norm", rows, width, 0, 0, true);
    add("rms_norm", rows * 36, 128, 0, 0, true);
    for (const Int width : {768, 2048, 4096, 14336}) add("swiglu", rows, width, 0, 0, true);
    for (const Int experts : {8, 32, 64, 128, 256})
      add("router", rows, 0, experts, experts == 8 ? 2 : 8, true);
    for (const Int width : {2048, 4096, 7168})
      for (const Int top_k : {2, 8})
        add("permute", rows * top_k, width, 0, top_k, false),
            add("unpermute", rows * top_k, width, 0, top_k, false);
    for (const Int width : {2048, 7168}) add("fp8_cast", rows, width, 0, 0, false);
    for (const Int width : {2048, 5120, 24576}) add("rotary", rows, width, 0, 0, false);
    for (const Int width : {2048, 4096, 7168}) add("residual", rows, width, 0, 0, false);
  }
  for (Int bytes = 1 << 16; bytes <= Int{1} << 31; bytes *= 2)
    shapes.push_back({.op = "copy", .bytes = bytes});
  return shapes;
}

std::vector<Shape> scattered_streaming(std::size_t count, std::uint32_t seed) {
  Draw draw(seed);
  constexpr const char* ops[] = {"rms_norm",  "swiglu",   "router",   "permute",
                                 "unpermute", "fp8_cast", "residual", "copy"};
  constexpr Int top_ks[] = {2, 4, 8};
  constexpr Int experts[] = {16, 48, 96, 160, 256};
  std::vector<Shape> shapes;
  while (shapes.size() < count) {
    const std::string op = draw.one_of(ops);
    const bool both = op == "rms_norm" || op == "swiglu" || op == "router";
    Shape shape{.op = op, .pass = both && draw.unit() < 0.5 ? "backward_input" : "forward"};
    if (op == "copy") {
      shape.bytes = draw.spread(1 << 18, 1 << 30, 4096);
    } else {
      shape.row_count = draw.spread(512, 32768);
      shape.width = draw.spread(768, 8192, 128);
      if (op == "router")
        shape.width = 0, shape.experts = draw.one_of(experts), shape.top_k = draw.one_of(top_ks);
      if (op == "permute" || op == "unpermute")
        shape.top_k = draw.one_of(top_ks), shape.row_count *= shape.top_k;
    }
    shapes.push_back(shape);
  }
  return shapes;
}

std::vector<Shape> joined(std::vector<Shape> a, const std::vector<Shape>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

std::vector<Section> grid() {
  return {{"memory-bound", joined(streaming(), scattered_streaming(130, 21))},
          {"GEMM in bf16", joined(dense("bf16"), scattered_dense("bf16", 450, 22))},
          {"GEMM in fp8", joined(dense("fp8"), scattered_dense("fp8", 280, 23))},
          {"grouped GEMM", joined(grouped(), scattered_grouped(300, 24))},
          {"attention", joined(attention(), scattered_attention(90, 25))}};
}

std::vector<Section> held_out() {
  return {{"held out: memory-bound", scattered_streaming(50, 31)},
          {"held out: GEMM in bf16", scattered_dense("bf16", 80, 32)},
          {"held out: GEMM in fp8", scattered_dense("fp8", 40, 33)},
          {"held out: grouped GEMM", scattered_grouped(60, 34)},
          {"held out: attention", scattered_attention(30, 35)}};
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
