// Popularity drawn from a symmetric Dirichlet distribution: the smaller the concentration, the fewer experts
// have most of it. The deviation of a share over its mean is sqrt((E - 1) / (concentration E + 1)).
#include <numeric>

#include "models/routing/skew.hpp"

namespace moesim {
namespace {

class Dirichlet final : public Skew {
 public:
  Dirichlet(double concentration, bool by_microbatch)
      : concentration_(concentration), by_microbatch_(by_microbatch) {}

  std::vector<double> popularity(std::int64_t experts, std::int64_t layer, std::int64_t microbatch,
                                 const Random& random) const override {
    RandomStream stream = random.stream("dirichlet", static_cast<std::uint64_t>(layer),
                                        by_microbatch_ ? static_cast<std::uint64_t>(microbatch) : 0);
    std::vector<double> shares(static_cast<std::size_t>(experts));
    for (double& share : shares) share = stream.gamma(concentration_);
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share = sum > 0 ? share / sum : 1.0 / static_cast<double>(experts);
    return shares;
  }
  bool varies() const override { return by_microbatch_; }

 private:
  double concentration_;
  bool by_microbatch_;
};

std::unique_ptr<const Skew> make(Reader& reader) {
  static constexpr std::string_view scopes[] = {"layer", "microbatch"};
  const double concentration =
      reader.number({.name = "concentration",
                     .help = "how even: 100 strays by a tenth of the mean, 1 by all of it",
                     .fallback = 1.0,
                     .at_least = 0.01,
                     .at_most = 1e9});
  const std::size_t varies = reader.choice({.name = "varies",
                                            .help = "drawn for each layer, or for each of its microbatches",
                                            .fallback = "layer"},
                                           scopes);
  return std::make_unique<Dirichlet>(concentration, varies == 1);
}

}  // namespace

extern constexpr Entry<Skew> dirichlet_skew{"dirichlet",
                                            "shares drawn from a symmetric Dirichlet distribution", make};

}  // namespace moesim
