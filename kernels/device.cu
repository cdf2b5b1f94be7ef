#include <cuda_fp8.h>

#include <algorithm>
#include <cstdio>

#include "device.hpp"
#include "library.hpp"

namespace measure {
namespace {

constexpr std::size_t alignment = 512;
constexpr const char* management_library = "libnvidia-ml.so.1";

__device__ std::uint32_t mixed(std::uint64_t x) {  // finalizer of splitmix64
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return static_cast<std::uint32_t>((x ^ (x >> 31)) >> 16);
}

__device__ float normal(std::uint64_t seed, std::size_t index) {  // Box-Muller
  const float u = (static_cast<float>(mixed(seed + 2 * index) >> 8) + 1.0f) * 0x1p-24f;
  const float v = static_cast<float>(mixed(seed + 2 * index + 1) >> 8) * 0x1p-24f;
  return sqrtf(-2 * __logf(u)) * __cosf(6.2831853f * v);
}

__global__ void normal_bf16(__nv_bfloat16* data, std::size_t count, std::uint64_t seed, float deviation) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < count; i += step)
    data[i] = __float2bfloat16(deviation * normal(seed, i));
}

__global__ void normal_fp8(__nv_fp8_e4m3* data, std::size_t count, std::uint64_t seed) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x; i < count; i += step)
    data[i] = __nv_fp8_e4m3(normal(seed, i));
}

std::string hexadecimal(const cudaUUID_t& uuid) {
  std::string text;
  char digits[3];
  for (const char byte : uuid.bytes) {
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(byte));
    text += digits;
  }
  return text;
}

}  // namespace

/// The few functions of the management library that are used, found at run time: nodes without it still
/// measure.
struct Clocks::Management {
  using Device = void*;
  Library library{management_library};
  Device device = nullptr;
  int (*clock)(Device, int, unsigned*) = nullptr;
  int (*power)(Device, unsigned*) = nullptr;
  int (*limit)(Device, unsigned*) = nullptr;
  int (*energy)(Device, unsigned long long*) = nullptr;

  explicit Management(int index) {
    const auto start = library.find<int()>("nvmlInit_v2");
    const auto by_bus = library.find<int(const char*, Device*)>("nvmlDeviceGetHandleByPciBusId_v2");
    char bus[32] = {};
    if (start == nullptr || by_bus == nullptr || start() != 0 ||
        cudaDeviceGetPCIBusId(bus, sizeof bus, index) != cudaSuccess)
      return;
    if (by_bus(bus, &device) != 0) device = nullptr;
    clock = library.find<int(Device, int, unsigned*)>("nvmlDeviceGetClockInfo");
    power = library.find<int(Device, unsigned*)>("nvmlDeviceGetPowerUsage");
    limit = library.find<int(Device, unsigned*)>("nvmlDeviceGetEnforcedPowerLimit");
    energy = library.find<int(Device, unsigned long long*)>("nvmlDeviceGetTotalEnergyConsumption");
  }
  double read(int which) const {
    unsigned mhz = 0;
    return device != nullptr && clock != nullptr && clock(device, which, &mhz) == 0 ? mhz : 0;
  }
};

Clocks::Clocks(int device) : management_(std::make_unique<Management>(device)) {}
Clocks::~Clocks() = default;
double Clocks::multiprocessor_mhz() const { return management_->read(1); }
double Clocks::memory_mhz() const { return management_->read(2); }
double Clocks::watts() const {
  unsigned milliwatts = 0;
  const bool known = management_->device != nullptr && management_->power != nullptr &&
                     management_->power(management_->device, &milliwatts) == 0;
  return known ? milliwatts / 1000.0 : 0;
}

double Clocks::limit_watts() const {
  unsigned milliwatts = 0;
  const bool known = management_->device != nullptr && management_->limit != nullptr &&
                     management_->limit(management_->device, &milliwatts) == 0;
  return known ? milliwatts / 1000.0 : 0;
}
double Clocks::joules() const {
  unsigned long long millijoules = 0;
  const bool known = management_->device != nullptr && management_->energy != nullptr &&
                     management_->energy(management_->device, &millijoules) == 0;
  return known ? static_cast<double>(millijoules) / 1000.0 : 0;
}

DeviceFacts facts_of(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  DeviceFacts facts;
  facts.index = device;
  facts.name = properties.name;
  facts.uuid = hexadecimal(properties.uuid);
  facts.major = properties.major;
  facts.minor = properties.minor;
  facts.multiprocessors = properties.multiProcessorCount;
  facts.memory = properties.totalGlobalMem;
  facts.cache = static_cast<std::size_t>(properties.l2CacheSize);
  int clock = 0, memory_clock = 0, width = 0;
  check(cudaDeviceGetAttribute(&clock, cudaDevAttrClockRate, device), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&memory_clock, cudaDevAttrMemoryClockRate, device), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&width, cudaDevAttrGlobalMemoryBusWidth, device), "cudaDeviceGetAttribute");
  facts.max_clock_mhz = clock / 1000;
  facts.memory_bandwidth = 2e3 * memory_clock * width / 8;  // two transfers a clock
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&facts.runtime), "cudaRuntimeGetVersion");
  facts.driver = "CUDA " + std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10);
  const Library library(management_library);
  const auto start = library.find<int()>("nvmlInit_v2");
  const auto version = library.find<int(char*, unsigned)>("nvmlSystemGetDriverVersion");
  char text[96] = {};
  if (start != nullptr && version != nullptr && start() == 0 && version(text, sizeof text) == 0)
    facts.driver = text;
  return facts;
}

Buffer::Buffer(std::size_t bytes) : bytes_(bytes) {
  check(cudaMalloc(&data_, std::max<std::size_t>(bytes, 1)), "cudaMalloc");
}

Buffer::~Buffer() {
  if (data_ != nullptr) static_cast<void>(cudaFree(data_));
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void fill_bf16(void* data, std::size_t elements, std::uint64_t seed, cudaStream_t stream, float deviation) {
  normal_bf16<<<1024, 256, 0, stream>>>(static_cast<__nv_bfloat16*>(data), elements, seed << 40, deviation);
  check_launch("normal_bf16");
}

void fill_fp8(void* data, std::size_t elements, std::uint64_t seed, cudaStream_t stream) {
  normal_fp8<<<1024, 256, 0, stream>>>(static_cast<__nv_fp8_e4m3*>(data), elements, seed << 40);
  check_launch("normal_fp8");
}

Rotation::Rotation(const Buffer& buffer, std::size_t cache, std::initializer_list<std::size_t> operands)
    : base_(buffer.get()) {
  for (const std::size_t bytes : operands) {
    offsets_.push_back(set_bytes_);
    set_bytes_ += (bytes + alignment - 1) / alignment * alignment;
  }
  set_bytes_ = std::max(set_bytes_, alignment);
  if (set_bytes_ > buffer.size()) throw OutOfMemory("operands larger than the buffer that fits the device");
  const std::size_t wanted = (4 * cache + set_bytes_ - 1) / set_bytes_ + 1;
  sets_ = static_cast<int>(std::min({wanted, buffer.size() / set_bytes_, std::size_t{4096}}));
}

}  // namespace measure
