#include "bench.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "late.hpp"
#include "pieces.hpp"
#include "streaming.hpp"

namespace measure {
namespace {

constexpr std::size_t gibibyte = std::size_t{1} << 30;

/// What is left for buffers once libraries have what they need, over what is wanted; at most 1.
double share_of_wanted(std::size_t wanted) {
  std::size_t free = 0, all = 0;
  check(cudaMemGetInfo(&free, &all), "cudaMemGetInfo");
  constexpr std::size_t kept = std::size_t{768}
                               << 20;  // workspaces, what is held meanwhile, single operations
  if (free < kept + (std::size_t{256} << 20))
    throw OutOfMemory("of the device's memory " + std::to_string(free >> 20) +
                      " MiB are free, expected 1 GiB");
  return std::min(1.0, static_cast<double>(free - kept) / static_cast<double>(wanted));
}

}  // namespace

Bench::Bench(const DeviceFacts& facts, const Patience& patience, bool quick)
    : facts_(facts),
      quick_(quick),
      clocks_(facts.index),
      sampler_(stream_.get(), patience),
      libraries_(stream_.get()) {
  const auto bytes = [share = share_of_wanted((quick ? 7 : 24) * gibibyte)](std::size_t wanted) {
    return static_cast<std::size_t>(share * static_cast<double>(wanted * gibibyte)) >> 20 << 20;
  };
  inputs_ = Buffer(bytes(quick ? 2 : 6));
  weights_ = Buffer(bytes(quick ? 2 : 6));
  outputs_ = Buffer(bytes(quick ? 2 : 8));
  fp8_ = Buffer(bytes(quick ? 1 : 4));
  if (inputs_.size() < (quick ? 2 : 6) * gibibyte)
    note("device memory is short: operands of at most " + std::to_string(inputs_.size() >> 20) +
         " MiB, larger shapes are left out");
  fill_bf16(inputs_.get(), inputs_.size() / 2, 1, stream());
  fill_bf16(weights_.get(), weights_.size() / 2, 2, stream());
  check(cudaMemsetAsync(outputs_.get(), 0, outputs_.size(), stream()), "cudaMemsetAsync");
  fill_fp8(fp8_.get(), fp8_.size(), 3, stream());
  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  if (const std::string why = why_no_cudnn(); why.empty())
    attention_ = std::make_unique<AttentionLibrary>(stream());
  else
    note("attention: not measured, there is no cuDNN (" + why + ")");
}

void Bench::note(const std::string& text) {
  if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) notes_.push_back(text);
}

void Bench::add(const Shape& shape, const Timing& timing, const std::string& method) {
  records_.push_back({.shape = shape, .timing = timing, .method = method});
}

void Bench::measure(const Shape& shape, bool held_out) {
  const std::size_t before = records_.size();
  try {
    if (shape.op == "grouped_gemm") {
      run_grouped(shape);
    } else if (shape.op == "copy") {
      run_copy(shape);
    } else if (shape.op != "attention" || attention_) {
      const Prepared way = prepared(shape);
      add(shape, sampler_.time(way.call), way.method);
    }
  } catch (const OutOfMemory& error) {
    note("left out, device memory is too small: " + keys_of(shape));
  } catch (const NotOffered& error) {
    note("left out, " + std::string(error.what()) + ": " + keys_of(shape));
  }
  for (std::size_t i = before; i < records_.size(); ++i) records_[i].held_out = held_out;
}

Prepared Bench::prepared_gemm(const Shape& shape) const {
  const auto product = std::make_shared<const Product>(libraries_, shape);
  const bool fp8 = shape.precision == "fp8";
  const Rotation in(fp8 ? fp8_ : inputs_, facts_.cache, {product->a_bytes(), product->b_bytes()});
  const Rotation out(outputs_, facts_.cache, {product->c_bytes()});
  return {[=](int i) { product->run(in.at(i, 0), in.at(i, 1), out.at(i, 0)); }, "cublaslt"};
}

/// One way of computing a grouped product, with operands for successive calls.
struct Bench::Grouped {
  Grouped(const Bench& bench, const Shape& shape, GroupedMethod method)
      : product(make_grouped(bench.libraries_, shape, method)),
        bytes(grouped_bytes(shape)),
        fp8(shape.precision == "fp8"),
        a(fp8 ? bench.fp8_ : bench.inputs_, bench.facts_.cache, {bytes.a, fp8 ? bytes.b : 0}),
        b(bench.weights_, bench.facts_.cache, {fp8 ? 0 : bytes.b}),
        c(bench.outputs_, bench.facts_.cache, {bytes.c}),
        slots(std::min(std::max({a.sets(), fp8 ? 1 : b.sets(), c.sets()}), 256)) {
    for (int i = 0; i < slots; ++i)
      product->prepare(i, a.at(i, 0), fp8 ? a.at(i, 1) : b.at(i, 0), c.at(i, 0));
  }
  void run(int call) const { product->run(call % slots); }

  std::unique_ptr<GroupedProduct> product;
  GroupedBytes bytes;
  bool fp8;
  Rotation a, b, c;
  int slots;
};

/// The best of the libraries' ways and the own kernel, at a glance.
struct Bench::Contenders {
  struct One {
    std::shared_ptr<Grouped> grouped;
    GroupedMethod method{};
    double rough = 0;  ///< seconds at a glance
    Timing timing;
  };
  One own, library;
  bool own_leads() const { return own.grouped && (!library.grouped || own.rough < library.rough); }
};

Bench::Contenders Bench::contenders(const Shape& shape) {
  Contenders both;
  std::string refusals;
  for (const GroupedMethod method : grouped_methods) {
    try {
      auto grouped = std::make_shared<Grouped>(*this, shape, method);
      const double seconds = sampler_.glance([&](int i) { grouped->run(i); });
      Contenders::One& best = method == GroupedMethod::own ? both.own : both.library;
      if (best.grouped && seconds >= best.rough) continue;
      best = {.grouped = std::move(grouped), .method = method, .rough = seconds, .timing = {}};
    } catch (const NotOffered& error) {
      refusals += (refusals.empty() ? "" : "; ") + std::string(error.what());
    }
  }
  if (!both.own.grouped && !both.library.grouped) throw NotOffered(refusals);
  return both;
}

void Bench::run_grouped(const Shape& shape) {
  Contenders both = contenders(shape);
  Contenders::One &own = both.own, &library = both.library;
  Contenders::One &first = both.own_leads() ? own : library, &second = both.own_leads() ? library : own;
  first.timing = sampler_.time([&](int i) { first.grouped->run(i); });
  // A glance is up to 28 % off on a device that is not warm: within that, both are timed.
  const double lead = second.rough / first.rough;
  const bool rough = lead > 1.3;
  if (second.grouped && !rough) second.timing = sampler_.time_warm([&](int i) { second.grouped->run(i); });
  if (second.grouped && rough) second.timing.seconds = first.timing.seconds * lead;
  const bool turned = second.grouped && second.timing.seconds < first.timing.seconds;
  add(shape, (turned ? second : first).timing, name_of((turned ? second : first).method));
  records_.back().library_seconds = library.timing.seconds;
  records_.back().own_seconds = own.timing.seconds;
  records_.back().slower_is_rough = second.grouped && rough;
}

Prepared Bench::prepared_attention(const Shape& s) const {
  if (!attention_) throw NotOffered("built without cuDNN");
  const auto attention = std::make_shared<const Attention>(*attention_, s);
  const std::size_t rows = size(s.batch * s.sequence);
  const std::size_t q = rows * size(s.heads * s.head_dim) * 2, k = rows * size(s.kv_heads * s.head_dim) * 2;
  const std::size_t v = rows * size(s.kv_heads * s.value_head_dim) * 2,
                    o = rows * size(s.heads * s.value_head_dim) * 2;
  const std::size_t statistics = rows * size(s.heads) * 4;
  const Rotation in(inputs_, facts_.cache, {q, k, v, o, o});
  const Rotation out(outputs_, facts_.cache, {o, statistics, q, k, v});
  const bool backward = s.pass != "forward";
  const auto call = [=](int i) {
    AttentionTensors t{in.at(i, 0), in.at(i, 1), in.at(i, 2), backward ? in.at(i, 3) : out.at(i, 0),
                       out.at(i, 1)};
    t.d_o = in.at(i, 4), t.dq = out.at(i, 2), t.dk = out.at(i, 3), t.dv = out.at(i, 4);
    attention->run(t);
  };
  return {call, "cudnn"};
}

Prepared Bench::prepared_copy(const Shape& s) const {
  const Rotation in(inputs_, facts_.cache, {size(s.bytes)}), out(outputs_, facts_.cache, {size(s.bytes)});
  return {[=, this, bytes = size(s.bytes)](int i) { copy(in.at(i, 0), out.at(i, 0), bytes, stream()); },
          "own"};
}

void Bench::run_copy(const Shape& s) {
  const Rotation in(inputs_, facts_.cache, {size(s.bytes)}), out(outputs_, facts_.cache, {size(s.bytes)});
  const Timing own = sampler_.time(prepared_copy(s).call);
  const Timing library = sampler_.time([&](int i) {
    check(cudaMemcpyAsync(out.at(i, 0), in.at(i, 0), size(s.bytes), cudaMemcpyDeviceToDevice, stream()),
          "cudaMemcpyAsync");
  });
  own.seconds <= library.seconds ? add(s, own, "own") : add(s, library, "cudaMemcpyAsync");
}

Prepared Bench::prepared_streaming(const Shape& shape) const {
  const auto streaming = std::make_shared<const Streaming>(shape, StreamingMemory{.inputs = inputs_,
                                                                                  .weights = weights_,
                                                                                  .outputs = outputs_,
                                                                                  .cache = facts_.cache,
                                                                                  .stream = stream()});
  return {[=](int i) { streaming->run(i); }, "own"};
}

Prepared Bench::prepared(const Shape& shape) {
  if (shape.op == "gemm") return prepared_gemm(shape);
  if (shape.op == "attention") return prepared_attention(shape);
  if (shape.op == "copy") return prepared_copy(shape);
  if (shape.op != "grouped_gemm") return prepared_streaming(shape);
  const Contenders both = contenders(shape);
  const Contenders::One& best = both.own_leads() ? both.own : both.library;
  return {[grouped = best.grouped](int i) { grouped->run(i); }, name_of(best.method)};
}

}  // namespace measure
