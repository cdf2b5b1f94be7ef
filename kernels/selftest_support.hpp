// What the self-tests share: random operands, results full of NaN until written, comparison with a reference.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "device.hpp"
#include "product.hpp"
#include "vectors.hpp"

namespace measure::selftest {

using Numbers = std::vector<double>;

/// The stream in which all tests run.
cudaStream_t stream();

template <class T>
std::vector<T> read(const void* data, std::size_t count) {
  std::vector<T> raw(count);
  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
  check(cudaMemcpy(raw.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
  return raw;
}
Numbers read_bf16(const void* data, std::size_t count);
Numbers read_float(const void* data, std::size_t count);
Numbers read_fp8(const void* data, std::size_t count);

/// Numbers on the device, and the same on the host.
struct Random {
  Buffer device;
  Numbers host;
};
Random random(Int count);
Random random_fp8(Int count);

/// Memory for results, full of NaN until written.
Buffer poisoned(Int bytes);
Buffer zeros(Int bytes);

/// Prints how far `found` is from `expected`, by norms; beyond `tolerance` the tests have failed.
void compare(const std::string& name, const Numbers& found, const Numbers& expected, double tolerance);
void fail(const std::string& what);

void test_pieces();
void test_routing();
void test_products(const Libraries& libraries);
void test_grouped(const Libraries& libraries);
void test_own_grouped(const Libraries& libraries);
void test_attention();
void test_exchange();  ///< with two GPUs or more

}  // namespace measure::selftest
