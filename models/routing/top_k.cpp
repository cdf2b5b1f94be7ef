// The k experts that a token likes best, none dropped (as in Mixtral, arXiv 2401.04088, and Qwen3): experts
// get what their popularity makes one expect.
#include "models/routing/routing.hpp"

namespace moesim {
namespace {

class TopK final : public Routing {
 public:
  using Routing::route;
  void route(const Demand& demand, RandomStream&, Loads& loads) const override {
    fill_expected(demand, loads);
  }
};

}  // namespace

extern constexpr Entry<Routing> top_k_routing{
    "top_k", "k distinct experts by their popularity, no token dropped",
    [](Reader&) -> std::unique_ptr<const Routing> { return std::make_unique<TopK>(); }};

}  // namespace moesim
