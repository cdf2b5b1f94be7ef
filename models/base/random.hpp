// Counter-based random streams: the n-th number of a named stream depends on nothing else, so results are the
// same whatever the engine, the order of calls or the number of workers. Mixing is SplitMix64's finalizer
// (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
#pragma once

#include <cstdint>
#include <string_view>

namespace moesim {

/// One named sequence of random numbers. Copying it repeats it.
class RandomStream {
 public:
  explicit RandomStream(std::uint64_t key) : key_(key) {}
  /// 64 uniform bits.
  std::uint64_t bits();
  /// Uniform in [0, 1).
  double uniform();
  /// Uniform in {0, ..., bound - 1}; `bound` is at least 1.
  std::uint64_t below(std::uint64_t bound);
  /// Normal with mean 0 and deviation 1 (Box-Muller).
  double normal();
  /// Gamma with the given shape and scale 1 (Marsaglia and Tsang, ACM TOMS 26(3), 2000).
  double gamma(double shape);

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

/// The source of all streams of a run.
class Random {
 public:
  explicit Random(std::uint64_t seed) : seed_(seed) {}
  /// The stream of a purpose and up to three coordinates, as ("routing", layer, microbatch).
  RandomStream stream(std::string_view purpose, std::uint64_t a = 0, std::uint64_t b = 0,
                      std::uint64_t c = 0) const;

 private:
  std::uint64_t seed_;
};

}  // namespace moesim
