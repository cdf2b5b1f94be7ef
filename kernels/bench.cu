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
      sampler_(stream_.get(), clocks_, patience),
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
    if (shape.op == "gemm")
      run_gemm(shape, 0, false);
    else if (shape.op == "grouped_gemm")
      run_grouped(shape, 0);
    else if (shape.op == "attention")
      run_attention(shape);
    else if (shape.op == "copy")
      run_copy(shape);
    else
      run_streaming(shape);
  } catch (const OutOfMemory& error) {
    note("left out, device memory is too small: " + keys_of(shape));
  } catch (const NotOffered& error) {
    note("left out, " + std::string(error.what()) + ": " + keys_of(shape));
  }
  for (std::size_t i = before; i < records_.size(); ++i) records_[i].held_out = held_out;
}

void Bench::measure_contention(const Shape& shape, int multiprocessors, bool told) {
  const std::size_t before = records_.size();
  try {
    if (!holder_ && multiprocessors > 0) holder_.emplace();
    shape.op == "gemm" ? run_gemm(shape, multiprocessors, told) : run_grouped(shape, multiprocessors);
  } catch (const OutOfMemory&) {
    note("contention is left out, device memory is too small");
  }
  for (std::size_t i = before; i < records_.size(); ++i) {
    records_[i].communication_sms = multiprocessors;
    records_[i].told = told;
  }
}

Timing Bench::timed(const std::function<void(int)>& call, int held) {
  if (held <= 0) return sampler_.time(call);
  return sampler_.time(
      call, [this, held] { holder_->start(held, stream()); }, [this] { holder_->stop(stream()); });
}

void Bench::run_gemm(const Shape& shape, int held, bool told) {
  const Product product(libraries_, shape, told ? facts_.multiprocessors - held : 0);
  const bool fp8 = shape.precision == "fp8";
  const Rotation in(fp8 ? fp8_ : inputs_, facts_.cache, {product.a_bytes(), product.b_bytes()});
  const Rotation out(outputs_, facts_.cache, {product.c_bytes()});
  const Timing timing = timed([&](int i) { product.run(in.at(i, 0), in.at(i, 1), out.at(i, 0)); }, held);
  add(shape, timing, "cublaslt");
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

void Bench::run_grouped(const Shape& shape, int held) {
  struct Contender {
    std::unique_ptr<Grouped> grouped;
    GroupedMethod method{};
    double rough = 0;  ///< seconds at a glance
    Timing timing;
  };
  Contender own, library;
  std::string refusals;
  for (const GroupedMethod method : grouped_methods) {
    try {
      auto grouped = std::make_unique<Grouped>(*this, shape, method);
      const double seconds = sampler_.glance([&](int i) { grouped->run(i); });
      Contender& best = method == GroupedMethod::own ? own : library;
      if (best.grouped && seconds >= best.rough) continue;
      best = {.grouped = std::move(grouped), .method = method, .rough = seconds, .timing = {}};
    } catch (const NotOffered& error) {
      refusals += (refusals.empty() ? "" : "; ") + std::string(error.what());
    }
  }
  if (!own.grouped && !library.grouped) throw NotOffered(refusals);
  const bool own_leads = own.grouped && (!library.grouped || own.rough < library.rough);
  Contender &first = own_leads ? own : library, &second = own_leads ? library : own;
  first.timing = timed([&](int i) { first.grouped->run(i); }, held);
  // A glance is up to 28 % off on a device that is not warm: within that, both are timed.
  const double lead = second.rough / first.rough;
  const bool rough = held > 0 || lead > 1.3;
  if (second.grouped && !rough) second.timing = sampler_.time_warm([&](int i) { second.grouped->run(i); });
  if (second.grouped && rough) second.timing.seconds = first.timing.seconds * lead;
  const bool turned = second.grouped && second.timing.seconds < first.timing.seconds;
  add(shape, (turned ? second : first).timing, name_of((turned ? second : first).method));
  records_.back().library_seconds = library.timing.seconds;
  records_.back().own_seconds = own.timing.seconds;
  records_.back().slower_is_rough = second.grouped && rough;
}

void Bench::run_attention(const Shape& s) {
  if (!attention_) return;
  const Attention attention(*attention_, s);
  const std::size_t rows = size(s.batch * s.sequence);
  const std::size_t q = rows * size(s.heads * s.head_dim) * 2, k = rows * size(s.kv_heads * s.head_dim) * 2;
  const std::size_t v = rows * size(s.kv_heads * s.value_head_dim) * 2,
                    o = rows * size(s.heads * s.value_head_dim) * 2;
  const std::size_t statistics = rows * size(s.heads) * 4;
  const Rotation in(inputs_, facts_.cache, {q, k, v, o, o});
  const Rotation out(outputs_, facts_.cache, {o, statistics, q, k, v});
  const bool backward = s.pass != "forward";
  const auto call = [&](int i) {
    AttentionTensors t{in.at(i, 0), in.at(i, 1), in.at(i, 2), backward ? in.at(i, 3) : out.at(i, 0),
                       out.at(i, 1)};
    t.d_o = in.at(i, 4), t.dq = out.at(i, 2), t.dk = out.at(i, 3), t.dv = out.at(i, 4);
    attention.run(t);
  };
  add(s, sampler_.time(call), "cudnn");
}

void Bench::run_copy(const Shape& s) {
  const Rotation in(inputs_, facts_.cache, {size(s.bytes)}), out(outputs_, facts_.cache, {size(s.bytes)});
  const Timing own = sampler_.time([&](int i) { copy(in.at(i, 0), out.at(i, 0), size(s.bytes), stream()); });
  const Timing library = sampler_.time([&](int i) {
    check(cudaMemcpyAsync(out.at(i, 0), in.at(i, 0), size(s.bytes), cudaMemcpyDeviceToDevice, stream()),
          "cudaMemcpyAsync");
  });
  own.seconds <= library.seconds ? add(s, own, "own") : add(s, library, "cudaMemcpyAsync");
}

void Bench::run_streaming(const Shape& shape) {
  const Streaming streaming(shape, {.inputs = inputs_,
                                    .weights = weights_,
                                    .outputs = outputs_,
                                    .cache = facts_.cache,
                                    .stream = stream()});
  add(shape, sampler_.time([&](int call) { streaming.run(call); }), "own");
}

}  // namespace measure
