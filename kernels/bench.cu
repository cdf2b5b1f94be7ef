#include "bench.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <numeric>
#include <random>

#include "pieces.hpp"

namespace measure {
namespace {

std::size_t size(Int count) { return static_cast<std::size_t>(count); }

/// The largest buffer up to `wanted` bytes that leaves the device some room.
Buffer as_large(std::size_t wanted, std::vector<std::string>& notes) {
  for (std::size_t bytes = wanted; bytes >= (std::size_t{64} << 20); bytes /= 2) {
    try {
      Buffer buffer(bytes);
      if (bytes < wanted)
        notes.push_back("out of memory: buffers of " + std::to_string(bytes >> 20) +
                        " MiB, larger shapes are left out");
      return buffer;
    } catch (const OutOfMemory&) {
    }
  }
  throw OutOfMemory("no 64 MiB of device memory are free");
}

/// Rows in the order of their experts: where each comes from, and where a token's rows are.
struct RowMaps {
  std::vector<int> source, place;
};

RowMaps row_maps(Int tokens, Int experts, Int top_k) {
  std::mt19937 random(7);
  std::vector<std::vector<int>> of_expert(size(experts));
  std::vector<int> order(size(experts));
  std::iota(order.begin(), order.end(), 0);
  for (Int token = 0; token < tokens; ++token) {
    for (Int j = 0; j < top_k; ++j) {
      const auto other = static_cast<std::size_t>(j) + random() % static_cast<std::size_t>(experts - j);
      std::swap(order[size(j)], order[other]);
      of_expert[size(order[size(j)])].push_back(static_cast<int>(token));
    }
  }
  RowMaps maps;
  maps.place.resize(size(tokens * top_k));
  std::vector<int> seen(size(tokens));
  for (const std::vector<int>& tokens_of : of_expert) {
    for (const int token : tokens_of) {
      maps.place[size(token * top_k) + static_cast<std::size_t>(seen[size(token)]++)] =
          static_cast<int>(maps.source.size());
      maps.source.push_back(token);
    }
  }
  return maps;
}

template <class T>
Buffer uploaded(const std::vector<T>& values) {
  Buffer buffer(values.size() * sizeof(T));
  check(cudaMemcpy(buffer.get(), values.data(), buffer.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  return buffer;
}

}  // namespace

Bench::Bench(const DeviceFacts& facts, const Patience& patience, bool quick)
    : facts_(facts),
      quick_(quick),
      clocks_(facts.index),
      sampler_(stream_.get(), clocks_, patience),
      libraries_(stream_.get()) {
  const std::size_t gibibyte = std::size_t{1} << 30;
  inputs_ = as_large((quick ? 2 : 6) * gibibyte, notes_);
  weights_ = as_large((quick ? 2 : 6) * gibibyte, notes_);
  outputs_ = as_large((quick ? 2 : 8) * gibibyte, notes_);
  fp8_ = as_large((quick ? 1 : 4) * gibibyte, notes_);
  fill_bf16(inputs_.get(), inputs_.size() / 2, 1, stream());
  fill_bf16(weights_.get(), weights_.size() / 2, 2, stream());
  check(cudaMemsetAsync(outputs_.get(), 0, outputs_.size(), stream()), "cudaMemsetAsync");
  fill_fp8(fp8_.get(), fp8_.size(), 3, stream());
  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  if (AttentionLibrary::is_built_in())
    attention_ = std::make_unique<AttentionLibrary>(stream());
  else
    note("attention is not measured: built without cuDNN");
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
  shape.op == "gemm" ? run_gemm(shape, multiprocessors, told) : run_grouped(shape, multiprocessors);
  for (std::size_t i = before; i < records_.size(); ++i) {
    records_[i].communication_sms = multiprocessors;
    records_[i].told = told;
  }
}

Timing Bench::timed(const std::function<void(int)>& call, int held) {
  if (held <= 0) return sampler_.time(call);
  return sampler_.time(
      call, [this, held] { holder_.start(held, stream()); }, [this] { holder_.stop(stream()); });
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
      : product(bench.libraries_, shape, method),
        a(shape.precision == "fp8" ? bench.fp8_ : bench.inputs_, bench.facts_.cache, {product.a_bytes()}),
        b(shape.precision == "fp8" ? bench.fp8_ : bench.weights_, bench.facts_.cache, {product.b_bytes()}),
        c(bench.outputs_, bench.facts_.cache, {product.c_bytes()}),
        slots(std::max({a.sets(), b.sets(), c.sets()})) {
    for (int i = 0; i < slots; ++i) product.prepare(i, a.at(i, 0), b.at(i, 0), c.at(i, 0));
  }
  void run(int call) const { product.run(call % slots); }

  GroupedProduct product;
  Rotation a, b, c;
  int slots;
};

void Bench::run_grouped(const Shape& shape, int held) {
  double least = 0;
  std::unique_ptr<Grouped> fastest;
  std::string name;
  for (const GroupedMethod method :
       {GroupedMethod::cublas_grouped, GroupedMethod::loop, GroupedMethod::streams}) {
    try {
      auto grouped = std::make_unique<Grouped>(*this, shape, method);
      const double seconds = sampler_.glance([&](int i) { grouped->run(i); });
      if (fastest && seconds >= least) continue;
      least = seconds;
      fastest = std::move(grouped);
      name = name_of(method);
    } catch (const NotOffered& error) {
      if (method != GroupedMethod::cublas_grouped) throw;
      if (shape.precision == "bf16" && shape.pass != "backward_weight") note(error.what());
    }
  }
  add(shape, timed([&](int i) { fastest->run(i); }, held), name);
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

void Bench::run_streaming(const Shape& s) {
  const Int rows = s.row_count, width = s.width, k = std::max<Int>(1, s.top_k);
  const bool forward = s.pass == "forward";
  const std::size_t row = size(s.op == "router" ? s.experts : width) * 2, all = size(rows) * row;
  Buffer extra;
  std::function<void(int)> call;
  const Half* weight = weights_.get<Half>();
  const auto rotate = [&](std::initializer_list<std::size_t> reads,
                          std::initializer_list<std::size_t> writes) {
    return std::pair{Rotation(inputs_, facts_.cache, reads), Rotation(outputs_, facts_.cache, writes)};
  };
  if (s.op == "rms_norm") {
    auto [in, out] = rotate({all, all}, {all});
    extra = Buffer(row * 2 * (rms_norm_blocks + 1));  // gradient, partial sums
    check(cudaMemset(extra.get(), 0, extra.size()), "cudaMemset");
    call = [&, in, out, weight](int i) {
      forward ? rms_norm(in.at<Half>(i, 0), weight, out.at<Half>(i, 0), rows, width, stream())
              : rms_norm_backward(in.at<Half>(i, 0), in.at<Half>(i, 1), weight, out.at<Half>(i, 0),
                                  extra.get<float>(), extra.get<float>() + width, rows, width, stream());
    };
  } else if (s.op == "swiglu") {
    auto [in, out] = rotate({2 * all, all}, {forward ? all : 2 * all});
    call = [&, in, out](int i) {
      forward
          ? swiglu(in.at<Half>(i, 0), out.at<Half>(i, 0), rows, width, stream())
          : swiglu_backward(in.at<Half>(i, 1), in.at<Half>(i, 0), out.at<Half>(i, 0), rows, width, stream());
    };
  } else if (s.op == "router") {
    const std::size_t chosen = size(rows * k) * 4;
    auto [in, out] = rotate({all}, {2 * all, chosen, chosen, all});
    call = [&, in, out](int i) {
      forward ? router(in.at<Half>(i, 0), out.at<float>(i, 0), out.at<float>(i, 1), out.at<int>(i, 2), rows,
                       s.experts, k, stream())
              : router_backward(out.at<float>(i, 0), out.at<float>(i, 1), out.at<int>(i, 2),
                                out.at<Half>(i, 3), rows, s.experts, k, stream());
    };
    if (!forward)  // what the forward pass leaves
      for (int i = 0; i < out.sets(); ++i)
        router(in.at<Half>(i, 0), out.at<float>(i, 0), out.at<float>(i, 1), out.at<int>(i, 2), rows,
               s.experts, k, stream());
  } else if (s.op == "permute") {
    const Int tokens = rows / k;
    extra = uploaded(row_maps(tokens, 64, k).source);
    auto [in, out] = rotate({all / size(k)}, {all});
    call = [&, in, out](int i) {
      permute(in.at<Half>(i, 0), extra.get<int>(), out.at<Half>(i, 0), rows, width, stream());
    };
  } else if (s.op == "unpermute") {
    const Int tokens = rows / k;
    extra = uploaded(row_maps(tokens, 64, k).place);
    auto [in, out] = rotate({all, size(rows) * 4}, {all / size(k)});
    call = [&, in, out, tokens](int i) {
      unpermute(in.at<Half>(i, 0), extra.get<int>(), in.at<float>(i, 1), out.at<Half>(i, 0), tokens, width, k,
                stream());
    };
  } else if (s.op == "fp8_cast") {
    auto [in, out] = rotate({all}, {all / 2, all / 64});
    call = [&, in, out](int i) {
      fp8_cast(in.at<Half>(i, 0), out.at<std::uint8_t>(i, 0), out.at<float>(i, 1), rows, width, stream());
    };
  } else if (s.op == "rotary") {
    auto [in, out] = rotate({all}, {all});
    call = [&, in, out](int i) { rotary(in.at<Half>(i, 0), out.at<Half>(i, 0), rows, width, 128, stream()); };
  } else {
    auto [in, out] = rotate({all, all}, {all});
    call = [&, in, out](int i) {
      residual(in.at<Half>(i, 0), in.at<Half>(i, 1), out.at<Half>(i, 0), rows, width, stream());
    };
  }
  add(s, sampler_.time(call), "own");
}

LaunchTimes measure_launches(Sampler& sampler) {
  constexpr int count = 200;
  const cudaStream_t stream = sampler.stream();
  LaunchTimes times;
  const auto many = [&](int) {
    for (int i = 0; i < count; ++i) empty_kernel(stream);
  };
  times.stream = sampler.time(many).seconds / count;
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  const auto before = std::chrono::steady_clock::now();
  many(0);
  times.host = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count() / count;
  cudaGraph_t graph{};
  cudaGraphExec_t ready{};
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  many(0);
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&ready, graph, 0), "cudaGraphInstantiate");
  times.graph =
      sampler.time([&](int) { check(cudaGraphLaunch(ready, stream), "cudaGraphLaunch"); }).seconds / count;
  check(cudaGraphExecDestroy(ready), "cudaGraphExecDestroy");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  return times;
}

std::vector<HostCopy> measure_host_copies(cudaStream_t stream, bool quick) {
  std::vector<HostCopy> copies;
  const std::size_t most = std::size_t{quick ? 16u : 256u} << 20;
  void* host = nullptr;
  check(cudaMallocHost(&host, most), "cudaMallocHost");
  const Buffer device(most);
  const auto seconds = [&](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    double best = 1e9;
    for (int i = 0; i < 7; ++i) {
      check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      const auto start = std::chrono::steady_clock::now();
      check(cudaMemcpyAsync(to, from, bytes, kind, stream), "cudaMemcpyAsync");
      check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
  };
  for (std::size_t bytes = 4096; bytes <= most; bytes *= 16)
    copies.push_back({bytes, seconds(device.get(), host, bytes, cudaMemcpyHostToDevice),
                      seconds(host, device.get(), bytes, cudaMemcpyDeviceToHost)});
  check(cudaFreeHost(host), "cudaFreeHost");
  return copies;
}

}  // namespace measure
