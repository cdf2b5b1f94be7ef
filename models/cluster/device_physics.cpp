// How devices differ, and what communication beside compute takes of one.
#include <algorithm>

#include "models/base/at.hpp"
#include "models/cluster/device.hpp"

namespace moesim {

std::vector<std::string_view> differing_physics(const Device& a, const Device& b) {
  std::vector<std::string_view> keys;
  const auto compare = [&keys](std::string_view key, bool same) {
    if (!same) keys.push_back(key);
  };
  compare("multiprocessors", a.multiprocessors == b.multiprocessors);
  compare("memory_bandwidth", a.memory_bandwidth == b.memory_bandwidth);
  compare("memory_efficiency", a.memory_efficiency == b.memory_efficiency);
  compare("memory_ramp", a.memory_ramp == b.memory_ramp);
  compare("cache", a.cache == b.cache);
  compare("cache_bandwidth", a.cache_bandwidth == b.cache_bandwidth);
  compare("launch_overhead", a.launch_overhead == b.launch_overhead);
  compare("kernel_floor", a.kernel_floor == b.kernel_floor);
  static constexpr std::string_view products[] = {"gemm.fp32", "gemm.bf16", "gemm.fp8", "gemm.fp4"};
  static_assert(std::size(products) == precision_count);
  for (std::size_t i = 0; i < precision_count; ++i) compare(products[i], a.gemm[i] == b.gemm[i]);
  compare("attention.tile_rows", a.attention_tile_rows == b.attention_tile_rows);
  compare("attention.forward", a.attention_forward == b.attention_forward);
  compare("attention.backward", a.attention_backward == b.attention_backward);
  compare("contention", a.contention == b.contention);
  return keys;
}

ContentionPoint beside_communication(const Device& device, Beside beside, Held held) {
  return at_held(at(device.contention.of(held.kernels), beside), held.multiprocessors);
}

bool slows_communication(const Device& device, Held held) {
  const ContentionCurves& curves = device.contention.of(held.kernels);
  return std::any_of(curves.begin(), curves.end(), [&](const ContentionCurve& curve) {
    return at_held(curve, held.multiprocessors).communication > 1;
  });
}

double contention(const Device& device, std::int64_t communication_sms) {
  if (communication_sms <= 0) return 1;
  const std::int64_t left = std::max<std::int64_t>(1, device.multiprocessors - communication_sms);
  const double share = static_cast<double>(device.multiprocessors) / static_cast<double>(left);
  const GemmBehaviour& gemm = device.gemm_in(Precision::bf16);
  const double power = std::max(1.0, gemm.efficiency / gemm.sustained);
  return std::max(power, share * beside_communication(device, Beside::products, communication_sms).compute) /
         power;
}

}  // namespace moesim
