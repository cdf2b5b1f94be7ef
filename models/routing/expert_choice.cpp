// Experts choose tokens (Zhou and others, arXiv 2202.09368): each expert takes the k / E of a source's tokens
// that score highest for it, so loads are even whatever is popular, and a token gets k experts on average, or
// none.
#include <cmath>

#include "models/routing/routing.hpp"

namespace moesim {
namespace {

class ExpertChoice final : public Routing {
 public:
  using Routing::route;
  void route(const Demand& demand, RandomStream&, Loads& loads) const override {
    fill_expected(demand, loads);
  }
  bool has_skew() const override { return false; }
  bool is_free() const override { return false; }
  /// Experts choose independently of each other: none of a block of n takes a token with a chance of
  /// (1 - k / E)^n.
  double reach(const Gate& gate, std::int64_t blocks, const Random&) const override {
    const double missed = 1 - static_cast<double>(gate.top_k) / static_cast<double>(gate.experts);
    double reached = 0;
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t held = gate.experts * (b + 1) / blocks - gate.experts * b / blocks;
      reached += 1 - std::pow(missed, static_cast<double>(held));
    }
    return reached;
  }
};

}  // namespace

extern constexpr Entry<Routing> expert_choice_routing{
    "expert_choice",
    "each expert takes its best k / E of a source's tokens; a token gets k experts on average",
    [](Reader&) -> std::unique_ptr<const Routing> { return std::make_unique<ExpertChoice>(); }};

}  // namespace moesim
