#include <cmath>

#include "pieces.hpp"
#include "selftest_support.hpp"

namespace measure::selftest {
namespace {

void test_norm(Int rows, Int width) {
  const Random x = random(rows * width), y = random(rows * width), w = random(width);
  Numbers normed, back, weight(size(width));
  for (Int r = 0; r < rows; ++r) {
    double squares = 0, dot = 0;
    for (Int c = 0; c < width; ++c) {
      const double v = x.host[size(r * width + c)];
      squares += v * v;
      dot += v * y.host[size(r * width + c)] * w.host[size(c)];
    }
    const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-6);
    for (Int c = 0; c < width; ++c) {
      const double v = x.host[size(r * width + c)], g = y.host[size(r * width + c)];
      normed.push_back(v * scale * w.host[size(c)]);
      back.push_back(scale * (g * w.host[size(c)] - v * dot * scale * scale / static_cast<double>(width)));
      weight[size(c)] += g * v * scale;
    }
  }
  const Buffer o = poisoned(rows * width * 2), b = poisoned(rows * width * 2), g = zeros(width * 4);
  const Half *px = x.device.get<Half>(), *py = y.device.get<Half>(), *pw = w.device.get<Half>();
  rms_norm(px, pw, o.get<Half>(), rows, width, stream());
  rms_norm_backward(py, px, pw, b.get<Half>(), g.get<float>(), rows, width, stream());
  const std::string name = "RMSNorm of " + std::to_string(rows) + " x " + std::to_string(width);
  compare(name, read_bf16(o.get(), normed.size()), normed, 1e-2);
  compare(name + " backward", read_bf16(b.get(), back.size()), back, 1e-2);
  compare(name + " backward, weight", read_float(g.get(), weight.size()), weight, 1e-3);
}

}  // namespace

void test_pieces() {
  const Int rows = 37, width = 768;
  const Random x = random(rows * 2 * width), y = random(rows * width);
  const Half *px = x.device.get<Half>(), *py = y.device.get<Half>();
  const auto out = [&](Int count) { return poisoned(count * 2); };
  for (const Int wide :
       {Int{64}, Int{128}, Int{256}, Int{384}, width, 2 * width, 3 * width, 6 * width, 16 * width})
    test_norm(rows * width / wide, wide);
  // More rows than all blocks hold at once, on 148 multiprocessors too: blocks go on to further ones.
  test_norm(20'000, 64), test_norm(5'000, 512), test_norm(1'600, 1536), test_norm(320, 9216);
  // So many rounds that blocks are fewer than there is room for, rows that leave lanes idle, and every split.
  test_norm(11'000, 520), test_norm(2'500, 4616), test_norm(600, 7168), test_norm(300, 7936);
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
  for (const double value : read_fp8(eight.get(), size(rows * width)))
    restored.push_back(value * factors[restored.size() / 128]);
  compare("fp8 cast, restored", restored, Numbers(x.host.begin(), x.host.begin() + rows * width), 5e-2);
}

}  // namespace measure::selftest
