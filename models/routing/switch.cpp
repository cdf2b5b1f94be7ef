// Switch Transformers (arXiv 2101.03961, section 2.2): a token goes to one expert; an expert takes tokens /
// experts x capacity factor from each group of tokens, and what is over goes on in the residual.
#include <algorithm>
#include <span>
#include <vector>

#include "models/base/error.hpp"
#include "models/routing/capacity.hpp"
#include "models/routing/expert_draw.hpp"
#include "models/routing/routing.hpp"

namespace moesim {
namespace {

class Switch final : public Routing {
 public:
  Switch(const Capacity& capacity, const TokenGroups& groups) : capacity_(capacity), groups_(groups) {}

  using Routing::route;
  void route(const Demand& demand, RandomStream& random, Loads& loads) const override {
    clear(demand, loads);
    const ExpertDraw draw(demand.popularity);
    const auto experts = static_cast<std::size_t>(demand.gate.experts);
    const std::int64_t count = groups_.count(demand.tokens);
    for (std::size_t first = 0; first < loads.rows.size(); first += experts) {
      const std::span<std::int64_t> rows(&loads.rows[first], experts);
      for (std::int64_t g = 0; g < count; ++g)
        route_group(demand, draw, demand.tokens * (g + 1) / count - demand.tokens * g / count, random, rows,
                    loads);
    }
    loads.capacity = capacity(demand.gate, demand.tokens);
  }

  std::int64_t capacity(const Gate& gate, std::int64_t tokens) const override {
    return capacity_.padded ? groups_.count(tokens) * group_capacity(gate, tokens) : 0;
  }
  std::int64_t group(std::int64_t tokens) const override { return groups_.largest(tokens); }
  bool draws() const override { return true; }
  void check(const Gate& gate) const override {
    if (gate.top_k != 1) {
      throw InputError("", fmt::format("top_k is {}, expected 1 for 'switch'", gate.top_k));
    }
  }

 private:
  /// Rows of an expert from one group.
  std::int64_t group_capacity(const Gate& gate, std::int64_t tokens) const {
    return capacity_.rows(gate, groups_.largest(tokens), 1);
  }
  /// Adds the rows of one group to a source's, and what is left out to the loads.
  void route_group(const Demand& demand, const ExpertDraw& draw, std::int64_t tokens, RandomStream& random,
                   std::span<std::int64_t> rows, Loads& loads) const {
    std::vector<std::int64_t> chosen(rows.size(), 0);
    for (std::int64_t token = 0; token < tokens; ++token) ++chosen[draw.first(random)];
    const std::int64_t most = group_capacity(demand.gate, demand.tokens);
    for (std::size_t e = 0; e < rows.size(); ++e) {
      const std::int64_t kept = std::min(most, chosen[e]);
      loads.dropped += chosen[e] - kept;
      rows[e] += kept;
    }
  }

  Capacity capacity_;
  TokenGroups groups_;
};

}  // namespace

extern constexpr Entry<Routing> switch_routing{
    "switch", "the one best expert, with a capacity; tokens over it are dropped (Switch Transformers)",
    [](Reader& reader) -> std::unique_ptr<const Routing> {
      const Capacity capacity =
          read_capacity(reader, 1.25, 4, "rows that an expert takes from a group over tokens / experts");
      return std::make_unique<Switch>(capacity, read_token_groups(reader));
    }};

}  // namespace moesim
