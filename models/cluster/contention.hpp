// What computes and what communicates on one device get in each other's way: curves by what computes.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "models/config/reader.hpp"
#include "models/config/value.hpp"

namespace moesim {

/// Kernels that communication meets: products, those of experts, attention, all that streams memory.
enum class Beside : std::uint8_t { products, grouped, attention, streaming };
inline constexpr std::size_t beside_count = 4;
inline constexpr std::array<std::string_view, beside_count> beside_names{"products", "grouped", "attention",
                                                                         "streaming"};

/// A point of a curve: with this many multiprocessors held by communication, kernels take `compute` times as
/// long as on as many free ones (what streams: as on all), and communication takes `communication` times as
/// long as beside nothing.
struct ContentionPoint {
  std::int64_t communication_sms = 0;
  double compute = 1, communication = 1;
  friend bool operator==(const ContentionPoint&, const ContentionPoint&) = default;
};

/// Rising in communication_sms and in `compute`; linear between points, constant beyond the last, and 1
/// without any.
using ContentionCurve = std::vector<ContentionPoint>;
using ContentionCurves = std::array<ContentionCurve, beside_count>;

/// Whose kernels communicate.
enum class CommunicationKernels : std::uint8_t {
  own,   ///< kernels that keep the multiprocessors that they are given, as those of DeepEP
  nccl,  ///< NCCL's: each collective waits until a kernel that computes lets go of multiprocessors
};

/// Multiprocessors that communication holds, and with what.
struct Held {
  // NOLINTNEXTLINE(google-explicit-constructor): without more they are those of kernels that keep them
  constexpr Held(std::int64_t count = 0, CommunicationKernels with = CommunicationKernels::own)
      : multiprocessors(count), kernels(with) {}
  std::int64_t multiprocessors;
  CommunicationKernels kernels;
};

struct Contention {
  ContentionCurves own{}, nccl{};
  /// Of NCCL, where it has no curves, those of other kernels.
  const ContentionCurves& of(CommunicationKernels kernels) const;
  friend bool operator==(const Contention&, const Contention&) = default;
};

/// Where the curve stands: 1 and 1 where nothing is held.
ContentionPoint at_held(const ContentionCurve& curve, std::int64_t communication_sms);

/// Reads "contention" of a device file with so many multiprocessors: an object of curves, in it "nccl" with
/// those of NCCL; or a list of {communication_sms, slowdown}, which stands for products and grouped products.
Contention read_contention(Reader& reader, std::int64_t multiprocessors);
/// Sets it in a device file: the curves that there are.
void write_contention(Value& file, const Contention& contention);

/// The objects that it reads, for `moesim describe`.
void describe_contention(Reader contention);
void describe_nccl_contention(Reader curves);
void describe_contention_point(Reader point);

}  // namespace moesim
