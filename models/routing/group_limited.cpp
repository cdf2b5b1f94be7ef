// DeepSeek's group-limited choice (DeepSeek-V3, arXiv 2412.19437, section 2.1.2 and Gate of its published
// code): experts have independent affinities, the groups with the best sum of their two highest affinities
// stay, and the k best experts of those groups are chosen.
#include <algorithm>
#include <span>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/routing/dropping.hpp"
#include "models/routing/routing.hpp"

namespace moesim {
namespace {

constexpr int sampled_tokens = 4096;

struct Scored {
  double score;
  std::int32_t index;
};

bool better(const Scored& a, const Scored& b) {
  return a.score > b.score || (a.score == b.score && a.index < b.index);
}

/// Group-limited routing with the group sizes of the scenario, or of the model where the scenario gives none.
class GroupLimited final : public Routing {
 public:
  GroupLimited(std::int64_t groups, std::int64_t chosen, const Dropping& dropping)
      : groups_(groups), chosen_(chosen), dropping_(dropping) {}

  using Routing::route;
  /// Popularity is of the experts as they are chosen, whatever their groups.
  void route(const Demand& demand, RandomStream&, Loads& loads) const override {
    dropping_.fill(demand, loads);
  }
  std::int64_t capacity(const Gate& gate, std::int64_t tokens) const override {
    return dropping_.padded_rows(gate, tokens);
  }
  double kept(const Gate& gate, std::int64_t sources, std::int64_t tokens) const override {
    return dropping_.kept(gate, sources, tokens);
  }

  bool is_free() const override { return false; }
  double reach(const Gate& gate, std::int64_t blocks, const Random& random) const override {
    ensure(blocks >= 1, "there are blocks to reach");
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(gate.top_k));
    std::vector<int> last_seen(static_cast<std::size_t>(blocks), -1);
    RandomStream stream = random.stream("reach");
    std::int64_t reached = 0;
    for (int token = 0; token < sampled_tokens; ++token) {
      choose(gate, stream, chosen);
      for (const std::int32_t expert : chosen) {
        int& seen = at(last_seen, expert * blocks / gate.experts);
        reached += seen == token ? 0 : 1;
        seen = token;
      }
    }
    return static_cast<double>(reached) / sampled_tokens;
  }

  void check(const Gate& gate) const override {
    const std::int64_t groups = groups_ > 0 ? groups_ : gate.groups;
    const std::int64_t kept = chosen_ > 0 ? chosen_ : gate.chosen_groups;
    if (gate.experts % groups != 0) {
      throw InputError("", fmt::format("{} experts do not divide into {} groups", gate.experts, groups));
    }
    if (kept > groups) {
      throw InputError("",
                       fmt::format("{} groups are chosen, expected at most the {} there are", kept, groups));
    }
    if (kept * (gate.experts / groups) < gate.top_k) {
      throw InputError("", fmt::format("{} of {} groups hold {} experts, expected at least the {} of a token",
                                       kept, groups, kept * (gate.experts / groups), gate.top_k));
    }
  }

 private:
  /// Draws the `chosen.size()` distinct experts of one token.
  void choose(const Gate& gate, RandomStream& random, std::span<std::int32_t> chosen) const {
    const std::int64_t groups = groups_ > 0 ? groups_ : gate.groups;
    const std::int64_t kept = chosen_ > 0 ? chosen_ : gate.chosen_groups;
    const std::int64_t size = gate.experts / groups;
    ensure(gate.experts % groups == 0 && kept <= groups && kept * size >= gate.top_k,
           "the groups hold top-k experts");
    std::vector<double> affinity(static_cast<std::size_t>(gate.experts));
    for (double& a : affinity) a = random.uniform();
    const std::vector<Scored> ranked = rank_groups(affinity, groups, size);
    std::vector<Scored> candidates;
    candidates.reserve(static_cast<std::size_t>(kept * size));
    for (std::int64_t g = 0; g < kept; ++g) {
      const std::int64_t first = at(ranked, g).index * size;
      for (std::int64_t e = first; e < first + size; ++e) {
        candidates.push_back({at(affinity, e), static_cast<std::int32_t>(e)});
      }
    }
    const auto middle = candidates.begin() + static_cast<std::ptrdiff_t>(chosen.size());
    std::partial_sort(candidates.begin(), middle, candidates.end(), better);
    std::transform(candidates.begin(), middle, chosen.begin(), [](const Scored& s) { return s.index; });
  }

  static std::vector<Scored> rank_groups(const std::vector<double>& affinity, std::int64_t groups,
                                         std::int64_t size) {
    std::vector<Scored> ranked;
    ranked.reserve(static_cast<std::size_t>(groups));
    for (std::int64_t g = 0; g < groups; ++g) {
      double best = 0;
      double second = 0;
      for (std::int64_t e = g * size; e < (g + 1) * size; ++e) {
        const double a = at(affinity, e);
        second = std::max(second, std::min(a, best));
        best = std::max(best, a);
      }
      ranked.push_back({best + second, static_cast<std::int32_t>(g)});
    }
    std::sort(ranked.begin(), ranked.end(), better);
    return ranked;
  }

  std::int64_t groups_;
  std::int64_t chosen_;
  Dropping dropping_;
};

std::unique_ptr<const Routing> make(Reader& reader) {
  const std::int64_t groups = reader.integer({.name = "groups",
                                              .help = "groups of experts, one a node; 0 takes the model's",
                                              .fallback = 0,
                                              .at_least = 0});
  const std::int64_t chosen = reader.integer({.name = "chosen",
                                              .help = "groups that a token may reach; 0 takes the model's",
                                              .fallback = 0,
                                              .at_least = 0});
  if (groups > 0 && chosen > groups) {
    reader.fail("chosen", fmt::format("is {}, expected at most the {} groups", chosen, groups));
  }
  return std::make_unique<GroupLimited>(groups, chosen, read_dropping(reader));
}

}  // namespace

extern constexpr Entry<Routing> group_limited_routing{
    "group_limited", "each token goes to experts of a few groups (nodes) only, as DeepSeek-V2 and V3 route",
    make};

}  // namespace moesim
