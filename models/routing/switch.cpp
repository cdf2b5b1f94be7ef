// Switch Transformers (arXiv 2101.03961, section 2.2): a token goes to one expert; an expert takes tokens /
// experts x capacity factor from each source, and what is over goes on in the residual.
#include <algorithm>

#include "models/base/error.hpp"
#include "models/routing/capacity.hpp"
#include "models/routing/expert_draw.hpp"
#include "models/routing/routing.hpp"

namespace moesim {
namespace {

class Switch final : public Routing {
 public:
  explicit Switch(const Capacity& capacity) : capacity_(capacity) {}

  using Routing::route;
  void route(const Demand& demand, RandomStream& random, Loads& loads) const override {
    clear(demand, loads);
    const std::int64_t most = capacity_.rows(demand.gate, demand.tokens, 1);
    const ExpertDraw draw(demand.popularity);
    const auto experts = static_cast<std::size_t>(demand.gate.experts);
    for (std::size_t first = 0; first < loads.rows.size(); first += experts) {
      for (std::int64_t token = 0; token < demand.tokens; ++token) ++loads.rows[first + draw.first(random)];
      for (std::size_t e = first; e < first + experts; ++e) {
        loads.dropped += std::max<std::int64_t>(0, loads.rows[e] - most);
        loads.rows[e] = std::min(loads.rows[e], most);
      }
    }
    loads.capacity = capacity(demand.gate, demand.tokens);
  }

  std::int64_t capacity(const Gate& gate, std::int64_t tokens) const override {
    return capacity_.padded ? capacity_.rows(gate, tokens, 1) : 0;
  }
  bool draws() const override { return true; }
  void check(const Gate& gate) const override {
    if (gate.top_k != 1) {
      throw InputError("", fmt::format("top_k is {}, expected 1 for 'switch'", gate.top_k));
    }
  }

 private:
  Capacity capacity_;
};

}  // namespace

extern constexpr Entry<Routing> switch_routing{
    "switch", "the one best expert, with a capacity; tokens over it are dropped (Switch Transformers)",
    [](Reader& reader) -> std::unique_ptr<const Routing> {
      return std::make_unique<Switch>(
          read_capacity(reader, 1.25, 4, "rows that an expert takes from a source over tokens / experts"));
    }};

}  // namespace moesim
