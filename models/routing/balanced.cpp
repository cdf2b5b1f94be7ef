// Every set of k experts is equally likely, and every expert gets exactly its even share of the tokens.
#include "models/routing/dropping.hpp"
#include "models/routing/routing.hpp"

namespace moesim {
namespace {

class Balanced final : public Routing {
 public:
  explicit Balanced(const Dropping& dropping) : dropping_(dropping) {}

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
  bool has_skew() const override { return false; }

 private:
  Dropping dropping_;
};

}  // namespace

extern constexpr Entry<Routing> balanced_routing{
    "balanced", "every expert gets the same number of tokens; any k experts are equally likely",
    [](Reader& reader) -> std::unique_ptr<const Routing> {
      Dropping dropping = read_dropping(reader);
      dropping.strays = false;
      return std::make_unique<Balanced>(dropping);
    }};

}  // namespace moesim
