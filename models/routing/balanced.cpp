// Every set of k experts is equally likely, and every expert gets exactly its even share of the tokens.
#include <algorithm>

#include "models/routing/routing.hpp"

namespace moesim {
namespace {

class Balanced final : public Routing {
 public:
  void choose(const Gate& gate, RandomStream& random, std::span<std::int32_t> chosen) const override {
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      do {
        chosen[i] = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(gate.experts)));
      } while (std::find(chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(i), chosen[i]) !=
               chosen.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  /// Exact by combinatorics.
  double reach(const Gate& gate, std::int64_t blocks, const Random&) const override {
    return even_reach(gate.experts, gate.top_k, blocks);
  }
};

}  // namespace

extern constexpr Entry<Routing> balanced_routing{
    "balanced", "every expert gets the same number of tokens; any k experts are equally likely",
    [](Reader&) -> std::unique_ptr<const Routing> { return std::make_unique<Balanced>(); }};

}  // namespace moesim
