// Popularity as it comes.
#include <algorithm>

#include "models/routing/balancing.hpp"

namespace moesim {
namespace {

class NoBalancing final : public Balancing {
 public:
  void adjust(const RoutedStep&, std::span<double>) const override {}
  void shift(std::span<const double>, std::span<const double>, std::span<double> shifts) const override {
    std::fill(shifts.begin(), shifts.end(), 0.0);
  }
  bool is_none() const override { return true; }
};

}  // namespace

extern constexpr Entry<Balancing> no_balancing{
    "none", "nothing balances loads",
    [](Reader&) -> std::unique_ptr<const Balancing> { return std::make_unique<NoBalancing>(); }};

}  // namespace moesim
