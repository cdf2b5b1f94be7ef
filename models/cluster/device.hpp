// One accelerator: what its data sheet says, and how much of that real kernels reach.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/precision.hpp"
#include "models/base/units.hpp"
#include "models/cluster/contention.hpp"
#include "models/config/reader.hpp"
#include "models/config/value.hpp"

namespace moesim {

/// Generations of NVIDIA's GPUs: what NCCL does between them, and what runs on them.
enum class Generation : std::uint8_t { none, ampere, hopper, blackwell };
inline constexpr std::string_view generation_names[] = {"none", "ampere", "hopper", "blackwell"};

/// An output tile that a matrix kernel may choose, rows by columns.
struct Tile {
  std::int64_t rows = 128;
  std::int64_t columns = 128;
  friend bool operator==(const Tile&, const Tile&) = default;
};

/// How matrix kernels of one precision behave on the device.
struct GemmBehaviour {
  FlopRate peak;            ///< dense, all multiprocessors, data sheet; zero: the device has none of these
  double efficiency = 1;    ///< share of `peak` that the main loop reaches at full clock (boost may exceed 1)
  double sustained = 1;     ///< share of `peak` at which the power limit holds the whole chip
  Rate feed;                ///< operands that one multiprocessor takes in from the cache, sharing included
  Time kernel_overhead;     ///< once per kernel beyond its floor: set-up, first loads, last stores
  Time tile_overhead;       ///< per wave of tiles: refilling the pipeline, epilogue
  bool may_split = false;   ///< whether kernels split the depth over multiprocessors when tiles are few
  Time split_overhead;      ///< once per kernel for adding up the parts
  double unhidden = 0;      ///< share of the shorter of arithmetic and traffic that the longer does not hide
  double exposed_sums = 0;  ///< share of its traffic to fp32 sums that a weight gradient takes after products
  std::vector<Tile> tiles;  ///< the kernel takes the one that finishes first
  friend bool operator==(const GemmBehaviour&, const GemmBehaviour&) = default;
};

/// One direction of fused attention.
struct AttentionBehaviour {
  double efficiency = 1;     ///< share of the bf16 peak in its products, softmax counted apart
  double wide = 1;           ///< share of `efficiency` that heads of more than 128 reach
  double sustained = 2;      ///< share of the peak at which the power limit holds the whole chip
  double score_rate = 1e10;  ///< scores a second that one multiprocessor takes through softmax
  double unhidden = 1;       ///< share of the shorter of products and softmax that the longer does not hide
  Time tile_overhead;        ///< per tile of queries: loading it, writing it
  Time kernel_overhead;      ///< once per call beyond a kernel's floor
  friend bool operator==(const AttentionBehaviour&, const AttentionBehaviour&) = default;
};

/// What a device draws, and what it does not draw more of. While a kernel runs at full clock, its device
/// draws `idle`, `active`, and the energies of what the kernel does over its time; multiprocessors' share of
/// that falls with the clock, to the power of `exponent`, of which a kernel that lasts longer by as much
/// gives one back. Where the mean over a window would be above what is held, the chip lowers its clock.
struct PowerBehaviour {
  Power idle;       ///< with a process on it and no kernel
  Power limit;      ///< that the driver enforces
  double held = 1;  ///< share of the limit at which the mean settles
  Time window;      ///< that the mean is over: a pause that is longer does not help what comes after it
  Power active;     ///< beyond idle, of any kernel on all multiprocessors
  std::array<Energy, precision_count> per_flop;  ///< of an operation in the matrix units, by precision
  Energy per_byte;                               ///< of device memory
  double exponent = 1;                           ///< of the clock, in the power of multiprocessors
  double knee = 1;     ///< clock above which the matrix units sustain no more: the chip leaves out cycles
  double traffic = 0;  ///< share of the time of traffic to device memory that goes with the clock
  Energy per_sent;     ///< of a byte that goes to another device, over NVLink and by communication's kernels
  friend bool operator==(const PowerBehaviour&, const PowerBehaviour&) = default;
};

/// A device as its file gives it. Every number there has a source.
struct Device {
  std::string name;
  Generation generation = Generation::none;  ///< none: not known, or no GPU of NVIDIA's
  std::int64_t multiprocessors = 1;          ///< SMs of a GPU, 1 for a TPU core
  Bytes memory;                              ///< capacity of device memory, as the driver reports it
  Bytes driver_memory;                       ///< of it, what a process has before any tensor
  Bytes channel_buffer;          ///< of a communicator, for one channel and one neighbour, both ways
  Rate memory_bandwidth;         ///< data sheet
  double memory_efficiency = 1;  ///< share of it that streaming kernels reach
  Time memory_ramp;              ///< until the memory pipeline is full; half speed before
  Bytes cache;                   ///< last-level cache: partial sums of split products stay in it
  Rate cache_bandwidth;          ///< of the last-level cache
  Rate host_rate{};              ///< of copies to and from the host's memory; 0: not known
  Time cycle;                    ///< of its multiprocessors' clock under load; 0: not known
  Time launch_overhead;          ///< gap between two kernels of one stream, launches queued ahead
  Time kernel_floor;             ///< shortest run of any kernel, launch excluded
  double spread = 0;             ///< between devices of this kind: standard deviation of time over mean
  std::array<GemmBehaviour, precision_count> gemm;
  std::int64_t attention_tile_rows = 128;  ///< queries of one tile of attention
  AttentionBehaviour attention_forward;
  AttentionBehaviour attention_backward;
  Contention contention;                ///< how compute and communication slow each other, by what computes
  std::optional<PowerBehaviour> power;  ///< where it is known: without, the clock is the full one

  bool is_gpu() const { return multiprocessors > 1; }
  const GemmBehaviour& gemm_in(Precision precision) const { return at(gemm, precision); }
};

/// Reads a device file.
Device read_device(Reader& reader);

/// Reads what is fitted of a product's behaviour.
void read_product(Reader& reader, GemmBehaviour& gemm);
/// Sets it in an object.
void write_product(Value& object, const GemmBehaviour& gemm);
/// Sets what is fitted of a device in its file; what the data sheet says stays.
void write_fitted(Value& file, const Device& device);

/// A part of a device file with its keys, as `moesim describe` lists it.
struct DevicePart {
  std::string name, sentence;
  std::vector<Declaration> keys;
};
std::vector<DevicePart> describe_device();

/// The keys of a device file that times of ops come from and in which two devices differ: not what devices
/// are called, hold or differ among themselves.
std::vector<std::string_view> differing_physics(const Device& a, const Device& b);

/// What communication does to kernels of a class beyond having taken multiprocessors from them, and these to
/// it: each at least 1.
ContentionPoint beside_communication(const Device& device, Beside beside, Held held);

/// Whether there is a class of kernels beside which communication takes longer.
bool slows_communication(const Device& device, Held held);

/// How much longer a large bf16 product takes while communication holds `communication_sms` multiprocessors:
/// at least 1. The share of multiprocessors left, times the interference, as far as the power limit had not
/// slowed the product already. For durations that come without an op; Cost::time knows more about one with
/// its shape.
double contention(const Device& device, std::int64_t communication_sms);

}  // namespace moesim
