// The k experts that a token likes best (as in Mixtral, arXiv 2401.04088, and Qwen3): experts get what their
// popularity makes one expect, or drop what is over their capacity.
#include "models/routing/dropping.hpp"
#include "models/routing/routing.hpp"

namespace moesim {
namespace {

class TopK final : public Routing {
 public:
  explicit TopK(const Dropping& dropping) : dropping_(dropping) {}

  using Routing::route;
  void route(const Demand& demand, RandomStream&, Loads& loads) const override {
    dropping_.fill(demand, loads);
  }
  std::int64_t capacity(const Gate& gate, std::int64_t tokens) const override {
    return dropping_.padded_rows(gate, tokens);
  }
  double kept(const Gate& gate, std::int64_t sources, std::int64_t tokens) const override {
    return dropping_.kept(gate, sources, tokens);
  }

 private:
  Dropping dropping_;
};

}  // namespace

extern constexpr Entry<Routing> top_k_routing{
    "top_k", "k distinct experts by their popularity, none dropped unless there is a capacity",
    [](Reader& reader) -> std::unique_ptr<const Routing> {
      return std::make_unique<TopK>(read_dropping(reader));
    }};

}  // namespace moesim
