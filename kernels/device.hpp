// The device that is measured: its properties, its clocks, memory on it, and operands that leave the cache.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "check.hpp"

namespace measure {

/// What the driver says of a device.
struct DeviceFacts {
  int index = 0;
  std::string name, driver, uuid;
  int major = 0, minor = 0, multiprocessors = 0;
  std::size_t memory = 0, cache = 0;
  int max_clock_mhz = 0;
  double memory_bandwidth = 0;  ///< bytes a second, from memory clock and bus width; 0: not told
  int runtime = 0;              ///< CUDA version of the runtime
};
DeviceFacts facts_of(int device);

/// Reads clocks through the driver's management library, where it can be loaded.
class Clocks {
 public:
  explicit Clocks(int device);
  ~Clocks();
  Clocks(const Clocks&) = delete;
  Clocks& operator=(const Clocks&) = delete;
  double multiprocessor_mhz() const;  ///< 0 where not known
  double memory_mhz() const;
  double watts() const;
  double joules() const;       ///< drawn since the driver was loaded; 0 where not known
  double limit_watts() const;  ///< that the driver enforces; 0 where not known

 private:
  struct Management;
  std::unique_ptr<Management> management_;
};

/// Device memory, freed with the object.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; }
  Buffer& operator=(Buffer&& other) noexcept;
  template <class T = void>
  T* get() const {
    return static_cast<T*>(data_);
  }
  std::size_t size() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// The values in device memory.
template <class T>
Buffer uploaded(const std::vector<T>& values) {
  Buffer buffer(values.size() * sizeof(T));
  check(cudaMemcpy(buffer.get(), values.data(), buffer.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
  return buffer;
}

/// Normally distributed bf16 or fp8 (e4m3) numbers, the same for the same seed.
void fill_bf16(void* data, std::size_t elements, std::uint64_t seed, cudaStream_t stream,
               float deviation = 1);
void fill_fp8(void* data, std::size_t elements, std::uint64_t seed, cudaStream_t stream);

/// Operands of successive calls, side by side in a large buffer: enough sets that none is in the cache when
/// its turn comes again.
class Rotation {
 public:
  /// Throws OutOfMemory where one set is larger than the buffer.
  Rotation(const Buffer& buffer, std::size_t cache, std::initializer_list<std::size_t> operands);
  int sets() const { return sets_; }
  /// Operand `which` of call `call`.
  template <class T = void>
  T* at(int call, std::size_t which) const {
    return reinterpret_cast<T*>(static_cast<char*>(base_) +
                                static_cast<std::size_t>(call % sets_) * set_bytes_ + offsets_[which]);
  }

 private:
  void* base_;
  std::vector<std::size_t> offsets_;
  std::size_t set_bytes_ = 0;
  int sets_ = 1;
};

}  // namespace measure
