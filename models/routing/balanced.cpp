// Every set of k experts is equally likely, and every expert gets exactly its even share of the tokens.
#include "models/routing/routing.hpp"

namespace moesim {
namespace {

class Balanced final : public Routing {
 public:
  using Routing::route;
  void route(const Demand& demand, RandomStream&, Loads& loads) const override {
    fill_expected(demand, loads);
  }
  bool has_skew() const override { return false; }
};

}  // namespace

extern constexpr Entry<Routing> balanced_routing{
    "balanced", "every expert gets the same number of tokens; any k experts are equally likely",
    [](Reader&) -> std::unique_ptr<const Routing> { return std::make_unique<Balanced>(); }};

}  // namespace moesim
