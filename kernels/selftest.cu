#include "selftest.hpp"

#include <cuda_fp8.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "attention.hpp"
#include "pieces.hpp"
#include "product.hpp"

namespace measure {
namespace {

using Numbers = std::vector<double>;
std::size_t size(Int count) { return static_cast<std::size_t>(count); }

cudaStream_t stream() {
  static const cudaStream_t made = [] {
    cudaStream_t s{};
    check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return s;
  }();
  return made;
}

/// bf16 numbers on the device, and the same on the host.
struct Random {
  Buffer device;
  Numbers host;
};

Numbers read_bf16(const void* data, std::size_t count) {
  std::vector<Half> raw(count);
  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  check(cudaMemcpy(raw.data(), data, count * 2, cudaMemcpyDeviceToHost), "cudaMemcpy");
  Numbers numbers;
  for (const Half value : raw) numbers.push_back(static_cast<double>(__bfloat162float(value)));
  return numbers;
}

template <class T>
std::vector<T> read(const void* data, std::size_t count) {
  std::vector<T> raw(count);
  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  check(cudaMemcpy(raw.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
  return raw;
}

Numbers read_float(const void* data, std::size_t count) {
  const std::vector<float> raw = read<float>(data, count);
  return {raw.begin(), raw.end()};
}

Random random(Int count) {
  static std::uint64_t seed = 100;
  Random made{Buffer(size(count) * 2), {}};
  fill_bf16(made.device.get(), size(count), ++seed, stream());
  made.host = read_bf16(made.device.get(), size(count));
  return made;
}

/// Memory for results, full of NaN until written.
Buffer poisoned(Int bytes) {
  Buffer buffer(size(bytes));
  check(cudaMemset(buffer.get(), 0xff, buffer.size()), "cudaMemset");
  return buffer;
}
Buffer zeros(Int bytes) {
  Buffer buffer(size(bytes));
  check(cudaMemset(buffer.get(), 0, buffer.size()), "cudaMemset");
  return buffer;
}

bool all_agree = true;

void compare(const std::string& name, const Numbers& found, const Numbers& expected, double tolerance) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += (found[i] - expected[i]) * (found[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  const double relative = std::sqrt(error / std::max(norm, 1e-30));
  const bool agrees = relative < tolerance;  // false for NaN
  all_agree = all_agree && agrees;
  std::printf("%-44s relative error %.2e  %s\n", name.c_str(), relative, agrees ? "agrees" : "DIFFERS");
}

/// Sum over l of a(i, l) b(j, l), or the other layouts.
Numbers multiplied(Int m, Int n, Int k, const std::function<double(Int, Int)>& a,
                   const std::function<double(Int, Int)>& b) {
  Numbers c(size(m * n));
  for (Int i = 0; i < m; ++i)
    for (Int j = 0; j < n; ++j)
      for (Int l = 0; l < k; ++l) c[size(i * n + j)] += a(i, l) * b(j, l);
  return c;
}

Numbers reference(const Shape& s, const double* a, const double* b) {
  if (s.pass == "backward_weight")
    return multiplied(
        s.m, s.n, s.k, [&](Int i, Int l) { return a[l * s.m + i]; },
        [&](Int j, Int l) { return b[l * s.n + j]; });
  if (s.pass == "backward_input")
    return multiplied(
        s.m, s.n, s.k, [&](Int i, Int l) { return a[i * s.k + l]; },
        [&](Int j, Int l) { return b[l * s.n + j]; });
  return multiplied(
      s.m, s.n, s.k, [&](Int i, Int l) { return a[i * s.k + l]; },
      [&](Int j, Int l) { return b[j * s.k + l]; });
}

void test_products(const Libraries& libraries) {
  for (const char* pass : {"forward", "backward_input", "backward_weight"}) {
    const Shape s{.op = "gemm", .pass = pass, .m = 136, .n = 192, .k = 264};
    const Product product(libraries, s);
    const Random a = random(s.m * s.k), b = random(s.n * s.k);
    const bool weight = s.pass == "backward_weight";
    const Buffer c = weight ? zeros(s.m * s.n * 4) : poisoned(s.m * s.n * 2);
    product.run(a.device.get(), b.device.get(), c.get());
    compare("GEMM " + s.pass,
            weight ? read_float(c.get(), size(s.m * s.n)) : read_bf16(c.get(), size(s.m * s.n)),
            reference(s, a.host.data(), b.host.data()), 1e-2);
  }
  const Shape s{.op = "gemm", .precision = "fp8", .m = 144, .n = 192, .k = 256};
  const Product product(libraries, s);
  Buffer a(size(s.m * s.k)), b(size(s.n * s.k));
  fill_fp8(a.get(), a.size(), 5, stream());
  fill_fp8(b.get(), b.size(), 6, stream());
  const auto host = [&](const Buffer& buffer) {
    Numbers numbers;
    for (const __nv_fp8_e4m3 value : read<__nv_fp8_e4m3>(buffer.get(), buffer.size()))
      numbers.push_back(static_cast<double>(static_cast<float>(value)));
    return numbers;
  };
  const Numbers ha = host(a), hb = host(b);
  const Buffer c = poisoned(s.m * s.n * 2);
  product.run(a.get(), b.get(), c.get());
  compare("GEMM fp8", read_bf16(c.get(), size(s.m * s.n)), reference(s, ha.data(), hb.data()), 2e-2);
}

void test_grouped(const Libraries& libraries) {
  for (const char* pass : {"forward", "backward_input", "backward_weight"}) {
    const Shape s{.op = "grouped_gemm", .pass = pass, .n = 128, .k = 64, .rows = {40, 0, 17, 96, 1}};
    Int all = 0;
    for (const Int rows : s.rows) all += rows;
    const bool weight = s.pass == "backward_weight";
    const Int experts = static_cast<Int>(s.rows.size());
    const Random a = random(all * (weight ? s.n : s.k)), b = random(weight ? all * s.k : experts * s.n * s.k);
    const Int results = weight ? experts * s.n * s.k : all * s.n;
    Numbers expected(size(results));
    Int row = 0, expert = 0;
    for (const Int rows : s.rows) {
      Shape one{.op = "gemm", .pass = pass, .m = rows, .n = s.n, .k = s.k};
      if (weight) one.m = s.n, one.n = s.k, one.k = rows;
      const Numbers part = reference(one, a.host.data() + row * (weight ? s.n : s.k),
                                     b.host.data() + (weight ? row * s.k : expert * s.n * s.k));
      std::copy(part.begin(), part.end(), expected.begin() + (weight ? expert * s.n * s.k : row * s.n));
      row += rows, ++expert;
    }
    for (const GroupedMethod method :
         {GroupedMethod::cublas_grouped, GroupedMethod::loop, GroupedMethod::streams}) {
      try {
        GroupedProduct product(libraries, s, method);
        const Buffer c = weight ? zeros(results * 4) : poisoned(results * 2);
        product.prepare(0, a.device.get(), b.device.get(), c.get());
        product.run(0);
        compare(std::string("grouped GEMM ") + pass + ", " + name_of(method),
                weight ? read_float(c.get(), size(results)) : read_bf16(c.get(), size(results)), expected,
                1e-2);
      } catch (const NotOffered& error) {
        std::printf("grouped GEMM %s, %s: not offered: %s\n", pass, name_of(method), error.what());
      }
    }
  }
}

void test_streaming() {
  const Int rows = 37, width = 768;
  const Random x = random(rows * 2 * width), y = random(rows * width), w = random(width);
  const Half *px = x.device.get<Half>(), *py = y.device.get<Half>(), *pw = w.device.get<Half>();
  const auto out = [&](Int count) { return poisoned(count * 2); };
  for (const Int wide : {Int{128}, width}) {
    Numbers normed, back, weight(size(wide));
    const Int count = rows * width / wide;
    for (Int r = 0; r < count; ++r) {
      double squares = 0, dot = 0;
      for (Int c = 0; c < wide; ++c) {
        const double v = x.host[size(r * wide + c)];
        squares += v * v;
        dot += v * y.host[size(r * wide + c)] * w.host[size(c)];
      }
      const double scale = 1 / std::sqrt(squares / static_cast<double>(wide) + 1e-6);
      for (Int c = 0; c < wide; ++c) {
        const double v = x.host[size(r * wide + c)], g = y.host[size(r * wide + c)];
        normed.push_back(v * scale * w.host[size(c)]);
        back.push_back(scale * (g * w.host[size(c)] - v * dot * scale * scale / static_cast<double>(wide)));
        weight[size(c)] += g * v * scale;
      }
    }
    const Buffer o = out(count * wide), b = out(count * wide), g = zeros(wide * 4),
                 partial = poisoned(rms_norm_blocks * wide * 4);
    rms_norm(px, pw, o.get<Half>(), count, wide, stream());
    rms_norm_backward(py, px, pw, b.get<Half>(), g.get<float>(), partial.get<float>(), count, wide, stream());
    const std::string name = "RMSNorm of " + std::to_string(wide);
    compare(name, read_bf16(o.get(), normed.size()), normed, 1e-2);
    compare(name + " backward", read_bf16(b.get(), back.size()), back, 1e-2);
    compare(name + " backward, weight", read_float(g.get(), weight.size()), weight, 1e-3);
  }
  Numbers activated, slopes(size(rows * 2 * width)), sums;
  for (Int r = 0; r < rows; ++r)
    for (Int c = 0; c < width; ++c) {
      const double gate = x.host[size(r * 2 * width + c)], up = x.host[size(r * 2 * width + width + c)],
                   g = y.host[size(r * width + c)];
      const double s = 1 / (1 + std::exp(-gate));
      activated.push_back(gate * s * up);
      slopes[size(r * 2 * width + c)] = g * up * s * (1 + gate * (1 - s));
      slopes[size(r * 2 * width + width + c)] = g * gate * s;
      sums.push_back(x.host[size(r * width + c)] + g);
    }
  const Buffer a = out(rows * width), s = out(rows * 2 * width), d = out(rows * width),
               p = poisoned(rows * 2 * width * 2);
  swiglu(px, a.get<Half>(), rows, width, stream());
  swiglu_backward(py, px, s.get<Half>(), rows, width, stream());
  residual(px, py, d.get<Half>(), rows, width, stream());
  copy(px, p.get(), size(rows * 2 * width * 2), stream());
  compare("SwiGLU", read_bf16(a.get(), activated.size()), activated, 1e-2);
  compare("SwiGLU backward", read_bf16(s.get(), slopes.size()), slopes, 1e-2);
  compare("residual", read_bf16(d.get(), sums.size()), sums, 1e-2);
  compare("copy", read_bf16(p.get(), x.host.size()), x.host, 1e-9);
  // Rotation by an angle and back by its reverse keeps lengths: compared pair by pair.
  const Buffer turned = out(rows * width);
  rotary(px, turned.get<Half>(), rows, width, 128, stream());
  const Numbers after = read_bf16(turned.get(), size(rows * width));
  Numbers before_lengths, after_lengths;
  for (std::size_t i = 0; i < after.size(); i += 2) {
    before_lengths.push_back(std::hypot(x.host[i], x.host[i + 1]));
    after_lengths.push_back(std::hypot(after[i], after[i + 1]));
  }
  compare("rotary embedding, lengths", after_lengths, before_lengths, 1e-2);
  const Buffer eight = poisoned(rows * width), scales = poisoned(rows * width / 128 * 4);
  fp8_cast(px, eight.get<std::uint8_t>(), scales.get<float>(), rows, width, stream());
  Numbers restored;
  const Numbers factors = read_float(scales.get(), size(rows * width / 128));
  for (const __nv_fp8_e4m3 value : read<__nv_fp8_e4m3>(eight.get(), size(rows * width)))
    restored.push_back(static_cast<double>(static_cast<float>(value)) * factors[restored.size() / 128]);
  compare("fp8 cast, restored", restored, Numbers(x.host.begin(), x.host.begin() + rows * width), 5e-2);
}

void test_routing() {
  for (const Int experts : {Int{8}, Int{60}, Int{256}}) {
    const Int tokens = 29, k = experts == 8 ? 2 : 8, width = 256;
    const Random logits = random(tokens * experts);
    const Buffer p = poisoned(tokens * experts * 4), w = poisoned(tokens * k * 4),
                 c = poisoned(tokens * k * 4), back = poisoned(tokens * experts * 2);
    router(logits.device.get<Half>(), p.get<float>(), w.get<float>(), c.get<int>(), tokens, experts, k,
           stream());
    Numbers probabilities, weights, slopes;
    const std::vector<int> chosen = read<int>(c.get(), size(tokens * k));
    bool ordered = true;
    for (Int t = 0; t < tokens; ++t) {
      double total = 0;
      for (Int e = 0; e < experts; ++e) total += std::exp(logits.host[size(t * experts + e)]);
      Numbers own;
      for (Int e = 0; e < experts; ++e) own.push_back(std::exp(logits.host[size(t * experts + e)]) / total);
      probabilities.insert(probabilities.end(), own.begin(), own.end());
      Numbers sorted = own;
      std::sort(sorted.rbegin(), sorted.rend());
      weights.insert(weights.end(), sorted.begin(), sorted.begin() + k);
      double dot = 0;
      Numbers gradient(size(experts));
      for (Int j = 0; j < k; ++j) {
        const int e = chosen[size(t * k + j)];
        ordered = ordered && e >= 0 && e < experts;
        if (!ordered) break;
        gradient[static_cast<std::size_t>(e)] = sorted[size(j)];
        dot += own[static_cast<std::size_t>(e)] * sorted[size(j)];
        ordered = ordered && std::abs(own[static_cast<std::size_t>(e)] - sorted[size(j)]) < 1e-5;
      }
      for (Int e = 0; e < experts; ++e) slopes.push_back(own[size(e)] * (gradient[size(e)] - dot));
    }
    const std::string name = "router over " + std::to_string(experts);
    compare(name, read_float(p.get(), probabilities.size()), probabilities, 1e-4);
    compare(name + ", weights", read_float(w.get(), weights.size()), weights, 1e-4);
    compare(name + ", choices", {ordered ? 1.0 : 0.0}, {1.0}, 1e-9);
    router_backward(p.get<float>(), w.get<float>(), c.get<int>(), back.get<Half>(), tokens, experts, k,
                    stream());
    compare(name + " backward", read_bf16(back.get(), slopes.size()), slopes, 1e-2);
    // Rows go out and come back: the sum over a token's rows with its weights is its row times their sum.
    const Random rows = random(tokens * width);
    std::vector<int> source, place;
    for (Int i = 0; i < tokens * k; ++i) place.push_back(static_cast<int>((i * 5 + 3) % (tokens * k)));
    source.resize(place.size());
    bool distinct = tokens * k % 5 != 0;
    for (std::size_t i = 0; i < place.size(); ++i)
      source[static_cast<std::size_t>(place[i])] = static_cast<int>(i / size(k));
    const Buffer ds(source.size() * 4), dp(place.size() * 4), there = poisoned(tokens * k * width * 2),
                                                              home = poisoned(tokens * width * 2);
    check(cudaMemcpy(ds.get(), source.data(), ds.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
    check(cudaMemcpy(dp.get(), place.data(), dp.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
    permute(rows.device.get<Half>(), ds.get<int>(), there.get<Half>(), tokens * k, width, stream());
    unpermute(there.get<Half>(), dp.get<int>(), w.get<float>(), home.get<Half>(), tokens, width, k, stream());
    Numbers moved, summed;
    for (const int from : source)
      for (Int i = 0; i < width; ++i)
        moved.push_back(rows.host[static_cast<std::size_t>(from) * size(width) + size(i)]);
    for (Int t = 0; t < tokens; ++t) {
      double total = 0;
      for (Int j = 0; j < k; ++j) total += weights[size(t * k + j)];
      for (Int i = 0; i < width; ++i) summed.push_back(total * rows.host[size(t * width + i)]);
    }
    if (distinct)
      compare("permute of " + std::to_string(k), read_bf16(there.get(), moved.size()), moved, 1e-9);
    if (distinct)
      compare("unpermute of " + std::to_string(k), read_bf16(home.get(), summed.size()), summed, 1e-2);
  }
}

/// Attention and its gradients of one sequence, straight from the definition.
struct AttentionReference {
  Numbers o, dq, dk, dv;
};

AttentionReference attention_reference(const Shape& s, const Numbers& q, const Numbers& k, const Numbers& v,
                                       const Numbers& d_o) {
  const Int n = s.sequence, d = s.head_dim, e = s.value_head_dim, shared = s.heads / s.kv_heads;
  AttentionReference r{Numbers(size(n * s.heads * e)), Numbers(q.size()), Numbers(k.size()),
                       Numbers(v.size())};
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  for (Int h = 0; h < s.heads; ++h) {
    const Int g = h / shared;
    for (Int i = 0; i < n; ++i) {
      const double* qi = &q[size((i * s.heads + h) * d)];
      const double* goi = &d_o[size((i * s.heads + h) * e)];
      const Int seen = s.causal ? i + 1 : n;
      Numbers p(size(seen)), dp(size(seen));
      double most = -1e300, total = 0, sum = 0;
      for (Int j = 0; j < seen; ++j) {
        for (Int l = 0; l < d; ++l) p[size(j)] += qi[l] * k[size((j * s.kv_heads + g) * d + l)] * scale;
        most = std::max(most, p[size(j)]);
      }
      for (double& value : p) total += value = std::exp(value - most);
      for (Int j = 0; j < seen; ++j) {
        p[size(j)] /= total;
        for (Int l = 0; l < e; ++l) {
          const std::size_t at = size((j * s.kv_heads + g) * e + l);
          r.o[size((i * s.heads + h) * e + l)] += p[size(j)] * v[at];
          r.dv[at] += p[size(j)] * goi[l];
          dp[size(j)] += goi[l] * v[at];
        }
        sum += p[size(j)] * dp[size(j)];
      }
      for (Int j = 0; j < seen; ++j) {
        const double ds = p[size(j)] * (dp[size(j)] - sum) * scale;
        for (Int l = 0; l < d; ++l) {
          r.dq[size((i * s.heads + h) * d + l)] += ds * k[size((j * s.kv_heads + g) * d + l)];
          r.dk[size((j * s.kv_heads + g) * d + l)] += ds * qi[l];
        }
      }
    }
  }
  return r;
}

void test_attention() {
  if (!AttentionLibrary::is_built_in()) return;
  const AttentionLibrary library(stream());
  struct Case {
    Int heads, kv_heads, size, value;
    bool causal;
  };
  for (const Case& c : {Case{4, 2, 128, 128, true}, Case{4, 4, 64, 64, false}, Case{4, 4, 192, 128, true}}) {
    Shape s{.op = "attention",
            .batch = 1,
            .heads = c.heads,
            .kv_heads = c.kv_heads,
            .sequence = 256,
            .head_dim = c.size,
            .value_head_dim = c.value,
            .causal = c.causal};
    const std::string name = "attention of " + std::to_string(c.size) + (c.causal ? ", causal" : "");
    const Random q = random(s.sequence * s.heads * c.size), k = random(s.sequence * s.kv_heads * c.size);
    const Random v = random(s.sequence * s.kv_heads * c.value), d_o = random(s.sequence * s.heads * c.value);
    const AttentionReference expected = attention_reference(s, q.host, k.host, v.host, d_o.host);
    const Buffer o = poisoned(s.sequence * s.heads * c.value * 2), stats = poisoned(s.sequence * s.heads * 4);
    const Buffer dq = poisoned(static_cast<Int>(q.device.size())),
                 dk = poisoned(static_cast<Int>(k.device.size())),
                 dv = poisoned(static_cast<Int>(v.device.size()));
    try {
      const Attention forward(library, s);
      s.pass = "backward_input";
      const AttentionTensors t{q.device.get(), k.device.get(), v.device.get(), o.get(),         stats.get(),
                               dq.get(),       dk.get(),       dv.get(),       d_o.device.get()};
      forward.run(t);
      compare(name, read_bf16(o.get(), expected.o.size()), expected.o, 2e-2);
      const Attention backward(library, s);
      backward.run(t);
      compare(name + ", dQ", read_bf16(dq.get(), expected.dq.size()), expected.dq, 2e-2);
      compare(name + ", dK", read_bf16(dk.get(), expected.dk.size()), expected.dk, 2e-2);
      compare(name + ", dV", read_bf16(dv.get(), expected.dv.size()), expected.dv, 2e-2);
    } catch (const NotOffered& error) {
      all_agree = false;
      std::printf("%s: not offered: %s\n", name.c_str(), error.what());
    }
  }
}

}  // namespace

bool self_test(bool own) {
  test_streaming();
  test_routing();
  if (own) return all_agree;
  const Libraries libraries(stream());
  test_products(libraries);
  test_grouped(libraries);
  test_attention();
  return all_agree;
}

}  // namespace measure
