#include "selftest.hpp"

#include <cuda_fp8.h>

#include <algorithm>
#include <cmath>

#include "selftest_support.hpp"

namespace measure {
namespace selftest {
namespace {

bool all_agree = true;
std::uint64_t seed = 100;

}  // namespace

cudaStream_t stream() {
  static const cudaStream_t made = [] {
    cudaStream_t s{};
    check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return s;
  }();
  return made;
}

Numbers read_bf16(const void* data, std::size_t count) {
  Numbers numbers;
  for (const Half value : read<Half>(data, count))
    numbers.push_back(static_cast<double>(__bfloat162float(value)));
  return numbers;
}

Numbers read_float(const void* data, std::size_t count) {
  const std::vector<float> raw = read<float>(data, count);
  return {raw.begin(), raw.end()};
}

Numbers read_fp8(const void* data, std::size_t count) {
  Numbers numbers;
  for (const __nv_fp8_e4m3 value : read<__nv_fp8_e4m3>(data, count))
    numbers.push_back(static_cast<double>(static_cast<float>(value)));
  return numbers;
}

Random random(Int count) {
  Random made{Buffer(size(count) * 2), {}};
  fill_bf16(made.device.get(), size(count), ++seed, stream());
  made.host = read_bf16(made.device.get(), size(count));
  return made;
}

Random random_fp8(Int count) {
  Random made{Buffer(size(count)), {}};
  fill_fp8(made.device.get(), size(count), ++seed, stream());
  made.host = read_fp8(made.device.get(), size(count));
  return made;
}

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

void fail(const std::string& what) {
  all_agree = false;
  std::printf("%s\n", what.c_str());
}

}  // namespace selftest

bool self_test(bool own) {
  selftest::test_pieces();
  selftest::test_routing();
  const Libraries libraries(selftest::stream());
  selftest::test_own_grouped(libraries);
  selftest::test_exchange();
  if (own) return selftest::all_agree;
  selftest::test_products(libraries);
  selftest::test_grouped(libraries);
  selftest::test_attention();
  return selftest::all_agree;
}

}  // namespace measure
