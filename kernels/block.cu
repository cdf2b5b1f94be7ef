#include "block.hpp"

#include <algorithm>
#include <functional>
#include <memory>

#include "pieces.hpp"

namespace measure {
namespace {

/// One operation and how it is launched.
struct Step {
  Shape shape;
  std::function<void()> run;
};

/// Lays out memory and lists the steps; the backward pass is written beside each forward step and runs in
/// reverse.
class Builder {
 public:
  Builder(Bench& bench, const BlockShape& shape, Int tokens, Int sequence)
      : bench_(bench), b_(shape), tokens_(tokens), sequence_(sequence) {
    build();
  }
  BlockTime time(bool is_backward, bool in_loop);

 private:
  Half* tensor(Int elements, float deviation = 1) {
    buffers_.emplace_back(size(elements) * 2);
    fill_bf16(buffers_.back().get(), size(elements), buffers_.size(), stream(), deviation);
    return buffers_.back().get<Half>();
  }
  float* floats(Int elements) {
    buffers_.emplace_back(size(elements) * 4);
    check(cudaMemsetAsync(buffers_.back().get(), 0, buffers_.back().size(), stream()), "cudaMemsetAsync");
    return buffers_.back().get<float>();
  }
  cudaStream_t stream() const { return bench_.stream(); }
  void forward(Shape shape, std::function<void()> run) {
    forward_.push_back({std::move(shape), std::move(run)});
  }
  void backward(Shape shape, std::function<void()> run) {
    backward_.push_back({std::move(shape), std::move(run)});
  }

  struct Pair {
    Half* value;
    Half* gradient;
  };
  Pair pair(Int elements) { return {tensor(elements), tensor(elements)}; }
  Pair linear(Pair x, Int out, Int in);
  Pair norm(Pair x, Int rows, Int width);
  Pair rotated(Pair x, Int width);
  Pair activated(Pair x, Int rows, Int width);
  Pair added(Pair a, Pair b);
  Pair attended(Pair q, Pair k, Pair v);
  Pair plain_attention(Pair x);
  Pair latent_attention(Pair x);
  Pair experts(Pair x);
  Pair grouped(Pair x, const std::vector<Int>& rows, Int out, Int in);
  void grouped_step(bool is_backward, const Shape& shape, const void* a, const void* b, void* c);
  void route(Pair logits);
  void build();

  Bench& bench_;
  const BlockShape& b_;
  Int tokens_, sequence_;
  std::vector<Buffer> buffers_;
  std::vector<std::unique_ptr<Product>> products_;
  std::vector<std::unique_ptr<GroupedProduct>> grouped_;
  std::vector<std::unique_ptr<Attention>> attentions_;
  std::vector<Step> forward_, backward_;
  std::vector<Int> rows_of_expert_;
  int *place_ = nullptr, *choices_ = nullptr;
  float *weights_ = nullptr, *probabilities_ = nullptr;
};

Builder::Pair Builder::linear(Pair x, Int out, Int in) {
  const Half* weight = tensor(out * in, 0.02f);
  float* gradient = floats(out * in);
  const Pair y = pair(tokens_ * out);
  const auto product = [&](const char* pass, Int m, Int n, Int k) {
    const Shape shape{.op = "gemm", .pass = pass, .m = m, .n = n, .k = k};
    products_.push_back(std::make_unique<Product>(bench_.libraries(), shape));
    return std::pair{shape, products_.back().get()};
  };
  const auto [fs, f] = product("forward", tokens_, out, in);
  const auto [is, i] = product("backward_input", tokens_, in, out);
  const auto [ws, w] = product("backward_weight", out, in, tokens_);
  forward(fs, [=] { f->run(x.value, weight, y.value); });
  backward(ws, [=] { w->run(y.gradient, x.value, gradient); });
  backward(is, [=] { i->run(y.gradient, weight, x.gradient); });
  return y;
}

Builder::Pair Builder::norm(Pair x, Int rows, Int width) {
  const Half* weight = tensor(width);
  float* gradient = floats(width);
  const Pair y = pair(rows * width);
  const cudaStream_t s = stream();
  const Shape shape{.op = "rms_norm", .row_count = rows, .width = width};
  Shape back = shape;
  back.pass = "backward_input";
  forward(shape, [=] { rms_norm(x.value, weight, y.value, rows, width, s); });
  backward(back,
           [=] { rms_norm_backward(y.gradient, x.value, weight, x.gradient, gradient, rows, width, s); });
  return y;
}

Builder::Pair Builder::rotated(Pair x, Int width) {
  const Pair y = pair(tokens_ * width);
  const cudaStream_t s = stream();
  const Int tokens = tokens_, head = b_.head_dim;
  const Shape shape{.op = "rotary", .row_count = tokens_, .width = width};
  Shape back = shape;
  back.pass = "backward_input";
  forward(shape, [=] { rotary(x.value, y.value, tokens, width, head, s); });
  backward(back, [=] { rotary(y.gradient, x.gradient, tokens, width, head, s); });
  return y;
}

Builder::Pair Builder::activated(Pair x, Int rows, Int width) {
  const Pair y = pair(rows * width);
  const cudaStream_t s = stream();
  const Shape shape{.op = "swiglu", .row_count = rows, .width = width};
  Shape back = shape;
  back.pass = "backward_input";
  forward(shape, [=] { swiglu(x.value, y.value, rows, width, s); });
  backward(back, [=] { swiglu_backward(y.gradient, x.value, x.gradient, rows, width, s); });
  return y;
}

Builder::Pair Builder::added(Pair a, Pair b) {
  const Pair y = pair(tokens_ * b_.hidden);
  const cudaStream_t s = stream();
  const Int tokens = tokens_, hidden = b_.hidden;
  const Shape shape{.op = "residual", .row_count = tokens_, .width = hidden};
  Shape back = shape;
  back.pass = "backward_input";
  forward(shape, [=] { residual(a.value, b.value, y.value, tokens, hidden, s); });
  // Two gradients meet where the stream branched.
  backward(back, [=] { residual(y.gradient, b.gradient, a.gradient, tokens, hidden, s); });
  return y;
}

Builder::Pair Builder::attended(Pair q, Pair k, Pair v) {
  Shape shape{.op = "attention",
              .batch = tokens_ / sequence_,
              .heads = b_.heads,
              .kv_heads = b_.kv_heads,
              .sequence = sequence_,
              .head_dim = b_.head_dim,
              .value_head_dim = b_.value_head_dim};
  if (bench_.attention() == nullptr) throw NotOffered("blocks need attention: built without cuDNN");
  attentions_.push_back(std::make_unique<Attention>(*bench_.attention(), shape));
  const Attention* f = attentions_.back().get();
  Shape back = shape;
  back.pass = "backward_input";
  attentions_.push_back(std::make_unique<Attention>(*bench_.attention(), back));
  const Attention* g = attentions_.back().get();
  const Pair o = pair(tokens_ * b_.heads * b_.value_head_dim);
  const AttentionTensors t{q.value,    k.value,    v.value,    o.value,   floats(tokens_ * b_.heads),
                           q.gradient, k.gradient, v.gradient, o.gradient};
  forward(shape, [=] { f->run(t); });
  backward(back, [=] { g->run(t); });
  return o;
}

/// One product for queries, keys and values; the parts lie one after another, as if each had been written
/// apart.
Builder::Pair Builder::plain_attention(Pair x) {
  const Int query = b_.heads * b_.head_dim, key = b_.kv_heads * b_.head_dim,
            value = b_.kv_heads * b_.value_head_dim;
  Pair qkv = linear(norm(x, tokens_, b_.hidden), query + key + value, b_.hidden);
  Pair qk = qkv;
  if (b_.head_norms) qk = norm(qkv, tokens_ * (b_.heads + b_.kv_heads), b_.head_dim);
  qk = rotated(qk, query + key);
  const auto part = [](Pair p, Int offset) { return Pair{p.value + offset, p.gradient + offset}; };
  const Pair o = attended(qk, part(qk, tokens_ * query), part(qkv, tokens_ * (query + key)));
  return added(x, linear(o, b_.hidden, b_.heads * b_.value_head_dim));
}

Builder::Pair Builder::latent_attention(Pair x) {
  const Int plain = b_.head_dim - b_.rotary_dim;
  const Pair in = norm(x, tokens_, b_.hidden);
  const Pair q = linear(norm(linear(in, b_.query_rank, b_.hidden), tokens_, b_.query_rank),
                        b_.heads * b_.head_dim, b_.query_rank);
  const Pair latent = linear(in, b_.key_rank + b_.rotary_dim, b_.hidden);
  const Pair kv =
      linear(norm(latent, tokens_, b_.key_rank), b_.heads * (plain + b_.value_head_dim), b_.key_rank);
  const Pair k = rotated(q, b_.heads * b_.head_dim);  // queries in place of whole keys: the same bytes
  const Pair v{kv.value, kv.gradient};
  const Pair o = attended(q, k, v);
  return added(x, linear(o, b_.hidden, b_.heads * b_.value_head_dim));
}

/// The fastest way of this shape is taken, as its measurement does.
void Builder::grouped_step(bool is_backward, const Shape& shape, const void* a, const void* b, void* c) {
  double best = 0;
  std::unique_ptr<GroupedProduct> chosen;
  for (const GroupedMethod method : grouped_methods) {
    try {
      auto product = make_grouped(bench_.libraries(), shape, method);
      product->prepare(0, a, b, c);
      const double seconds = bench_.sampler().glance([&](int) { product->run(0); });
      if (chosen && seconds >= best) continue;
      best = seconds;
      chosen = std::move(product);
    } catch (const NotOffered&) {
    }
  }
  if (!chosen) throw NotOffered("grouped products: no way offers them");
  grouped_.push_back(std::move(chosen));
  const GroupedProduct* product = grouped_.back().get();
  const auto run = [=] { product->run(0); };
  is_backward ? backward(shape, run) : forward(shape, run);
}

Builder::Pair Builder::grouped(Pair x, const std::vector<Int>& rows, Int out, Int in) {
  Int all = 0;
  for (const Int count : rows) all += count;
  const Int experts = static_cast<Int>(rows.size());
  const Half* weight = tensor(experts * out * in, 0.02f);
  float* gradient = floats(experts * out * in);
  const Pair y = pair(all * out);
  grouped_step(false, {.op = "grouped_gemm", .n = out, .k = in, .rows = rows}, x.value, weight, y.value);
  grouped_step(true, {.op = "grouped_gemm", .pass = "backward_weight", .n = out, .k = in, .rows = rows},
               y.gradient, x.value, gradient);
  grouped_step(true, {.op = "grouped_gemm", .pass = "backward_input", .n = in, .k = out, .rows = rows},
               y.gradient, weight, x.gradient);
  return y;
}

/// Chooses once, on the host's side of things too: the maps from tokens to rows are made here and not timed.
void Builder::route(Pair logits) {
  probabilities_ = floats(tokens_ * b_.experts);
  weights_ = floats(tokens_ * b_.top_k);
  choices_ = reinterpret_cast<int*>(floats(tokens_ * b_.top_k));
  const cudaStream_t s = stream();
  const Shape shape{.op = "router", .row_count = tokens_, .experts = b_.experts, .top_k = b_.top_k};
  Shape back = shape;
  back.pass = "backward_input";
  const Int tokens = tokens_, experts = b_.experts, k = b_.top_k;
  float *p = probabilities_, *w = weights_;
  int* c = choices_;
  forward(shape, [=] { router(logits.value, p, w, c, tokens, experts, k, s); });
  // The weights stand in for their gradient.
  backward(back, [=] { router_backward(p, w, c, w, logits.gradient, tokens, experts, k, s); });
  // The forward steps so far leave what the router really sees.
  for (const Step& step : forward_) step.run();
  std::vector<int> chosen(size(tokens * k));
  check(cudaMemcpyAsync(chosen.data(), c, chosen.size() * 4, cudaMemcpyDeviceToHost, s), "cudaMemcpyAsync");
  check(cudaStreamSynchronize(s), "cudaStreamSynchronize");
  std::vector<std::vector<int>> of_expert(size(experts));
  for (std::size_t i = 0; i < chosen.size(); ++i)
    of_expert.at(static_cast<std::size_t>(chosen[i])).push_back(static_cast<int>(i));
  std::vector<int> place(chosen.size());
  int next = 0;
  for (const std::vector<int>& picks : of_expert) {
    rows_of_expert_.push_back(static_cast<Int>(picks.size()));
    for (const int pick : picks) place[static_cast<std::size_t>(pick)] = next++;
  }
  place_ = reinterpret_cast<int*>(floats(tokens * k));
  check(cudaMemcpyAsync(place_, place.data(), place.size() * 4, cudaMemcpyHostToDevice, s),
        "cudaMemcpyAsync");
  check(cudaStreamSynchronize(s), "cudaStreamSynchronize");
}

Builder::Pair Builder::experts(Pair x) {
  const Int rows = tokens_ * b_.top_k, hidden = b_.hidden, tokens = tokens_, k = b_.top_k;
  const cudaStream_t s = stream();
  const Pair in = norm(x, tokens_, hidden);
  const Pair logits = linear(in, b_.experts, hidden);
  route(logits);
  const int* place = place_;
  const float* w = weights_;
  const Pair arrived = pair(rows * hidden);
  forward({.op = "permute", .row_count = rows, .width = hidden, .top_k = k},
          [=] { permute(in.value, place, arrived.value, tokens, hidden, k, s); });
  backward({.op = "unpermute", .pass = "backward_input", .row_count = rows, .width = hidden, .top_k = k},
           [=] { unpermute(arrived.gradient, place, w, in.gradient, tokens, hidden, k, s); });
  const Pair wide = grouped(arrived, rows_of_expert_, 2 * b_.expert_width, hidden);
  const Pair narrow = activated(wide, rows, b_.expert_width);
  const Pair left = grouped(narrow, rows_of_expert_, hidden, b_.expert_width);
  const Pair joined = pair(tokens_ * hidden);
  forward({.op = "unpermute", .row_count = rows, .width = hidden, .top_k = k},
          [=] { unpermute(left.value, place, w, joined.value, tokens, hidden, k, s); });
  backward({.op = "permute", .pass = "backward_input", .row_count = rows, .width = hidden, .top_k = k},
           [=] { permute(joined.gradient, place, left.gradient, tokens, hidden, k, s); });
  Pair out = added(x, joined);
  if (b_.shared_width == 0) return out;
  const Pair shared = activated(linear(in, 2 * b_.shared_width, hidden), tokens_, b_.shared_width);
  return added(out, linear(shared, hidden, b_.shared_width));
}

void Builder::build() {
  const Pair x = pair(tokens_ * b_.hidden);
  experts(b_.key_rank > 0 ? latent_attention(x) : plain_attention(x));
  std::reverse(backward_.begin(), backward_.end());
  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
}

BlockTime Builder::time(bool is_backward, bool in_loop) {
  const std::vector<Step>& steps = is_backward ? backward_ : forward_;
  BlockTime result{.block = b_.name,
                   .pass = is_backward ? "backward" : "forward",
                   .in_loop = in_loop,
                   .tokens = tokens_,
                   .sequence = sequence_};
  const auto run = [&](int) {
    for (const Step& step : steps) step.run();
  };
  result.timing = in_loop ? bench_.sampler().time_in_loop(run) : bench_.sampler().time(run);
  for (const Step& step : steps) result.shapes.push_back(step.shape);
  return result;
}

}  // namespace

std::vector<BlockTime> measure_block(Bench& bench, const BlockShape& shape, Int tokens, Int sequence) {
  Builder builder(bench, shape, tokens, sequence);
  return {builder.time(false, false), builder.time(true, false), builder.time(false, true),
          builder.time(true, true)};
}

}  // namespace measure
