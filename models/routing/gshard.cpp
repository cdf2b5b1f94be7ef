// GShard (arXiv 2006.16668, algorithm 1): top-2 gating in groups of tokens. First choices take their places
// first; a second choice is taken with twice its weight as chance, the two weights being normalised to 1; an
// expert takes 2N/(G E) tokens of a group, and what is over goes on in the residual.
//
// Weights are softmax weights of scores log(popularity) + Gumbel noise: the only independent noise with which
// the best scores are drawn in proportion to popularity, one after the other without putting back (Yellott,
// J. Math. Psychology 15(2), 1977). Weights are then 1 / arrival time of Poisson processes whose rates are
// the popularities, so second over first weight is the first arrival over the second, and with all others q =
// 1 - popularity of the first it is u q / (u q + 1 - u) for a uniform u. With many even experts the mean
// chance is 2 (1 - ln 2) = 0.614.
#include <algorithm>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/routing/capacity.hpp"
#include "models/routing/expert_draw.hpp"
#include "models/routing/routing.hpp"

namespace moesim {
namespace {

struct Keys {
  Capacity capacity;
  TokenGroups groups;
  bool all = false;  ///< second choices are always taken
};

class GShard final : public Routing {
 public:
  explicit GShard(const Keys& keys) : keys_(keys) {}

  using Routing::route;
  void route(const Demand& demand, RandomStream& random, Loads& loads) const override {
    clear(demand, loads);
    const ExpertDraw draw(demand.popularity);
    const std::int64_t count = keys_.groups.count(demand.tokens);
    for (std::int64_t source = 0; source < demand.sources; ++source) {
      const std::span<std::int64_t> rows(&at(loads.rows, source * loads.experts),
                                         static_cast<std::size_t>(loads.experts));
      for (std::int64_t g = 0; g < count; ++g) {
        const std::int64_t tokens = demand.tokens * (g + 1) / count - demand.tokens * g / count;
        route_group(demand, draw, tokens, random, rows, loads);
      }
    }
    loads.capacity = capacity(demand.gate, demand.tokens);
  }

  std::int64_t capacity(const Gate& gate, std::int64_t tokens) const override {
    return keys_.capacity.padded ? keys_.groups.count(tokens) * group_capacity(gate, tokens) : 0;
  }
  std::int64_t group(std::int64_t tokens) const override { return keys_.groups.largest(tokens); }
  bool draws() const override { return true; }
  void check(const Gate& gate) const override {
    if (gate.top_k != 2 || gate.experts < 2) {
      throw InputError("", fmt::format("top_k is {} of {} experts, expected 2 of at least 2 for 'gshard'",
                                       gate.top_k, gate.experts));
    }
  }

 private:
  /// Rows of an expert from one group.
  std::int64_t group_capacity(const Gate& gate, std::int64_t tokens) const {
    return keys_.capacity.rows(gate, keys_.groups.largest(tokens), 2);
  }
  /// Adds the rows of one group to a source's, and what is left out to the loads.
  void route_group(const Demand& demand, const ExpertDraw& draw, std::int64_t tokens, RandomStream& random,
                   std::span<std::int64_t> rows, Loads& loads) const {
    std::vector<std::int64_t> firsts(rows.size(), 0);
    std::vector<std::int64_t> seconds(rows.size(), 0);
    for (std::int64_t token = 0; token < tokens; ++token) {
      const std::size_t first = draw.first(random);
      const std::size_t second = draw.second(first, random);
      ++firsts[first];
      const bool taken = keys_.all || random.uniform() < chance(1 - demand.popularity[first], random);
      taken ? ++seconds[second] : ++loads.skipped;
    }
    const std::int64_t most = group_capacity(demand.gate, demand.tokens);
    for (std::size_t e = 0; e < rows.size(); ++e) {
      const std::int64_t kept = std::min(most, firsts[e] + seconds[e]);
      loads.dropped += firsts[e] + seconds[e] - kept;
      rows[e] += kept;
    }
  }
  /// Twice the normalised weight of a second choice, where all but the first have popularity `others`.
  static double chance(double others, RandomStream& random) {
    const double u = random.uniform();
    const double ratio = u * others / (u * others + 1 - u);
    return 2 * ratio / (1 + ratio);
  }

  Keys keys_;
};

std::unique_ptr<const Routing> make(Reader& reader) {
  static constexpr std::string_view seconds[] = {"random", "all"};
  Keys keys;
  keys.capacity = read_capacity(reader, 1.0, 1,
                                "rows that an expert takes from a group over the even share of both choices");
  keys.groups = read_token_groups(reader);
  keys.all = reader.choice({.name = "second",
                            .help = "whether a second choice is taken at random, by its weight, or always",
                            .fallback = "random"},
                           seconds) == 1;
  return std::make_unique<GShard>(keys);
}

}  // namespace

extern constexpr Entry<Routing> gshard_routing{
    "gshard", "the two best experts in groups of tokens, with a capacity; the second at random by its weight",
    make};

}  // namespace moesim
