// All experts are equally popular.
#include "models/routing/skew.hpp"

namespace moesim {
namespace {

class NoSkew final : public Skew {
 public:
  std::vector<double> popularity(std::int64_t experts, std::int64_t, std::int64_t,
                                 const Random&) const override {
    return std::vector<double>(static_cast<std::size_t>(experts), 1.0 / static_cast<double>(experts));
  }
  bool is_even() const override { return true; }
};

}  // namespace

extern constexpr Entry<Skew> no_skew{
    "none", "all experts are equally popular",
    [](Reader&) -> std::unique_ptr<const Skew> { return std::make_unique<NoSkew>(); }};

}  // namespace moesim
