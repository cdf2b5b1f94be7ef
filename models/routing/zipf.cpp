// Zipf's law: the n-th most popular expert has a share in proportion to n^-exponent. Which expert that is, is
// drawn for each layer.
#include <cmath>
#include <numeric>

#include "models/routing/skew.hpp"

namespace moesim {
namespace {

class Zipf final : public Skew {
 public:
  explicit Zipf(double exponent) : exponent_(exponent) {}

  std::vector<double> popularity(std::int64_t experts, std::int64_t layer, std::int64_t,
                                 const Random& random) const override {
    std::vector<double> shares(static_cast<std::size_t>(experts));
    for (std::size_t n = 0; n < shares.size(); ++n) {
      shares[n] = std::pow(static_cast<double>(n + 1), -exponent_);
    }
    const double sum = std::accumulate(shares.rbegin(), shares.rend(), 0.0);
    for (double& share : shares) share /= sum;
    RandomStream stream = random.stream("zipf", static_cast<std::uint64_t>(layer));
    for (std::size_t n = shares.size(); n > 1; --n) std::swap(shares[n - 1], shares[stream.below(n)]);
    return shares;
  }
  bool is_even() const override { return exponent_ == 0; }

 private:
  double exponent_;
};

}  // namespace

extern constexpr Entry<Skew> zipf_skew{
    "zipf", "the n-th most popular expert of a layer gets n^-exponent; which one that is, is drawn",
    [](Reader& reader) -> std::unique_ptr<const Skew> {
      return std::make_unique<Zipf>(
          reader.number({.name = "exponent",
                         .help = "how steep: 0 is even, 1 halves the second's share",
                         .fallback = 1.0,
                         .at_least = 0.0,
                         .at_most = 10.0}));
    }};

}  // namespace moesim
