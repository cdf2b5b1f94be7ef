#include <algorithm>
#include <string>

#include "draw.hpp"
#include "grid_parts.hpp"

namespace measure {
namespace {

struct Heads {
  Int heads, kv_heads, size, value;
};
constexpr Heads head_shapes[] = {{32, 8, 128, 128}, {32, 4, 128, 128},    {64, 8, 128, 128},
                                 {64, 64, 64, 64},  {128, 128, 192, 128}, {16, 16, 192, 128}};
/// Of long sequences: so few that a call ends before the clock falls.
constexpr Heads few_heads[] = {{1, 1, 128, 128}, {2, 2, 64, 64}, {1, 1, 192, 128}};
/// Windows of known models: gpt-oss (arXiv 2508.10925), Mistral (2310.06825), Gemma 3 (2503.19786).
struct Windowed {
  Heads heads;
  Int window;
};
constexpr Windowed windowed_shapes[] = {
    {{64, 8, 64, 64}, 128}, {{32, 8, 128, 128}, 4096}, {{32, 16, 128, 128}, 1024}};

Shape attention_of(bool backward, Int batch, const Heads& h, Int sequence, bool causal, Int window = 0) {
  return {.op = "attention",
          .pass = backward ? "backward_input" : "forward",
          .batch = batch,
          .heads = h.heads,
          .kv_heads = h.kv_heads,
          .sequence = sequence,
          .head_dim = h.size,
          .value_head_dim = h.value,
          .causal = causal,
          .window = window};
}

}  // namespace

std::vector<Shape> attention() {
  std::vector<Shape> shapes;
  for (const bool backward : {false, true}) {
    for (const Heads& heads : head_shapes) {
      // Of heads that differ in their number alone, every other length.
      const bool sparse = heads.size == 128 && heads.heads / heads.kv_heads == 8;
      const Int longest = heads.heads > 32 ? 16384 : 32768;
      for (Int sequence = 512; sequence <= longest; sequence *= sparse ? 4 : 2)
        shapes.push_back(attention_of(backward, 1, heads, sequence, true));
      shapes.push_back(attention_of(backward, 4, heads, 1024, true));
      shapes.push_back(attention_of(backward, 2, heads, 4096, true));
      shapes.push_back(attention_of(backward, 1, heads, 2048, false));
      shapes.push_back(attention_of(backward, 1, heads, 8192, false));
    }
    for (const Heads& heads : few_heads) shapes.push_back(attention_of(backward, 1, heads, 131072, true));
    for (const Windowed& windowed : windowed_shapes)
      for (const Int sequence : {2048, 8192, 32768, 131072})
        shapes.push_back(attention_of(backward, 1, windowed.heads, sequence, true, windowed.window));
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
    const bool backward = draw.unit() < 0.5;
    const Int batch = draw.spread(1, 6), sequence = draw.spread(512, 8192, 128);
    const bool causal = draw.unit() < 0.75;
    // Some have a window, drawn after all else.
    const bool has_window = causal && draw.unit() < 0.2;
    shapes.push_back(
        attention_of(backward, batch, heads, sequence, causal, has_window ? draw.spread(128, 4096, 64) : 0));
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
    for (const Int experts : {8, 32, 64, 128, 256, 512})
      add("router", rows, 0, experts, experts == 8 ? 2 : 8, true);
    for (const Int width : {2048, 4096, 7168})
      for (const Int top_k : {1, 2, 8})
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
  // What has a backward pass of its own is drawn twice as often.
  constexpr const char* ops[] = {"rms_norm", "rms_norm", "swiglu",    "swiglu",   "router",   "router",
                                 "permute",  "permute",  "unpermute", "fp8_cast", "residual", "copy"};
  constexpr Int top_ks[] = {1, 2, 4, 8};
  constexpr Int experts[] = {16, 48, 96, 160, 256, 384};
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

}  // namespace measure
