#include <algorithm>
#include <cmath>

#include "attention.hpp"
#include "late.hpp"
#include "selftest_support.hpp"

namespace measure::selftest {
namespace {

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
      const Int first = s.window > 0 ? std::max<Int>(0, i - s.window + 1) : 0;
      const Int seen = (s.causal ? i + 1 : n) - first;
      Numbers p(size(seen)), dp(size(seen));
      double most = -1e300, total = 0, sum = 0;
      for (Int j = 0; j < seen; ++j) {
        for (Int l = 0; l < d; ++l)
          p[size(j)] += qi[l] * k[size(((first + j) * s.kv_heads + g) * d + l)] * scale;
        most = std::max(most, p[size(j)]);
      }
      for (double& value : p) total += value = std::exp(value - most);
      for (Int j = 0; j < seen; ++j) {
        p[size(j)] /= total;
        for (Int l = 0; l < e; ++l) {
          const std::size_t at = size(((first + j) * s.kv_heads + g) * e + l);
          r.o[size((i * s.heads + h) * e + l)] += p[size(j)] * v[at];
          r.dv[at] += p[size(j)] * goi[l];
          dp[size(j)] += goi[l] * v[at];
        }
        sum += p[size(j)] * dp[size(j)];
      }
      for (Int j = 0; j < seen; ++j) {
        const double ds = p[size(j)] * (dp[size(j)] - sum) * scale;
        for (Int l = 0; l < d; ++l) {
          r.dq[size((i * s.heads + h) * d + l)] += ds * k[size(((first + j) * s.kv_heads + g) * d + l)];
          r.dk[size(((first + j) * s.kv_heads + g) * d + l)] += ds * qi[l];
        }
      }
    }
  }
  return r;
}

}  // namespace

void test_attention() {
  if (!why_no_cudnn().empty()) return;
  const AttentionLibrary library(stream());
  struct Case {
    Int heads, kv_heads, size, value;
    bool causal;
    Int window = 0;
  };
  for (const Case& c : {Case{4, 2, 128, 128, true}, Case{4, 4, 64, 64, false}, Case{4, 4, 192, 128, true},
                        Case{4, 2, 128, 128, true, 100}, Case{8, 1, 64, 64, true, 32}}) {
    Shape s{.op = "attention",
            .batch = 1,
            .heads = c.heads,
            .kv_heads = c.kv_heads,
            .sequence = 256,
            .head_dim = c.size,
            .value_head_dim = c.value,
            .causal = c.causal,
            .window = c.window};
    const std::string name = "attention of " + std::to_string(c.size) + (c.causal ? ", causal" : "") +
                             (c.window > 0 ? ", window of " + std::to_string(c.window) : "");
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
      fail(name + ": not offered: " + error.what());
    }
  }
}

}  // namespace measure::selftest
