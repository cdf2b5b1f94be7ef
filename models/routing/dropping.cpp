#include "models/routing/dropping.hpp"

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <cmath>
#include <numbers>
#include <numeric>

#include "models/base/at.hpp"

namespace moesim {
namespace {

/// E[max(0, X - most)] of a binomial X of `tokens` with chance p. With E[X; X > c] = n p P(X' >= c), X' of n
/// - 1 tokens, and tails as incomplete beta functions (Abramowitz and Stegun, 26.5.24).
double binomial_over(std::int64_t tokens, double p, std::int64_t most) {
  if (most >= tokens || p <= 0) return 0;
  const auto n = static_cast<double>(tokens);
  const auto c = static_cast<double>(most);
  if (p >= 1) return n - c;
  const double over = n * p * boost::math::ibeta(c, n - c, p) - c * boost::math::ibeta(c + 1, n - c, p);
  return std::max(0.0, over);
}

/// The same of a normal one.
double normal_over(double mean, double deviation, double most) {
  if (deviation <= 0) return std::max(0.0, mean - most);
  const double z = (most - mean) / deviation;
  const double density = std::exp(-z * z / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  const double tail = std::erfc(z / std::numbers::sqrt2) / 2;
  return std::max(0.0, deviation * (density - z * tail));
}

double even_share(const Gate& gate) {
  return static_cast<double>(gate.top_k) / static_cast<double>(gate.experts);
}

/// Of one source for one expert, at most all of its tokens.
std::int64_t expert_capacity(const Dropping& dropping, const Gate& gate, std::int64_t tokens) {
  const double rows = std::ceil(static_cast<double>(tokens) * even_share(gate) * dropping.factor - 1e-9);
  return static_cast<std::int64_t>(std::clamp(rows, 1.0, static_cast<double>(tokens)));
}

/// Rows of one source for one expert that are over.
double over_of_expert(const Dropping& dropping, const Gate& gate, std::int64_t tokens, double chance) {
  const std::int64_t most = expert_capacity(dropping, gate, tokens);
  if (dropping.strays) return binomial_over(tokens, chance, most);
  return std::max(0.0, chance * static_cast<double>(tokens) - static_cast<double>(most));
}

/// Share of the rows for experts with these chances, all those of a rank, that is over. A token has k
/// different experts: how many of them are here strays as that of k draws without putting back
/// (hypergeometric).
double over_of_rank(const Dropping& dropping, const Gate& gate, double tokens,
                    std::span<const double> chances) {
  const double here = std::accumulate(chances.begin(), chances.end(), 0.0);
  if (here <= 0) return 0;
  const auto k = static_cast<double>(gate.top_k), experts = static_cast<double>(gate.experts);
  const double share = here / k;
  const double left = gate.experts > 1 ? (experts - k) / (experts - 1) : 0;
  const double variance = tokens * k * share * std::max(0.0, 1 - share) * left;
  const double most = tokens * even_share(gate) * static_cast<double>(chances.size()) * dropping.factor;
  return normal_over(tokens * here, dropping.strays ? std::sqrt(variance) : 0.0, most) / (tokens * here);
}

/// The experts of a rank, as many on each as it goes.
std::pair<std::int64_t, std::int64_t> experts_of_rank(const Demand& demand, std::int64_t rank) {
  return {demand.gate.experts * rank / demand.sources, demand.gate.experts * (rank + 1) / demand.sources};
}

/// Rows that are over, of each expert from all sources.
std::vector<double> over_of_experts(const Dropping& dropping, const Demand& demand) {
  std::vector<double> over = chances(demand);
  if (dropping.of == CapacityOf::expert) {
    for (double& rows : over) {
      rows = static_cast<double>(demand.sources) * over_of_expert(dropping, demand.gate, demand.tokens, rows);
    }
    return over;
  }
  const auto tokens = static_cast<double>(demand.sources * demand.tokens);
  for (std::int64_t rank = 0; rank < demand.sources; ++rank) {
    const auto [first, end] = experts_of_rank(demand, rank);
    const std::span<double> own =
        std::span(over).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(end - first));
    const double share = over_of_rank(dropping, demand.gate, tokens, own);
    for (double& rows : own) rows *= tokens * share;
  }
  return over;
}

/// A capacity of less than a row takes the most popular expert's first.
void keep_one(const Demand& demand, std::vector<std::int64_t>& rows) {
  if (std::any_of(rows.begin(), rows.end(), [](std::int64_t of_expert) { return of_expert > 0; })) return;
  const auto hottest = std::max_element(demand.popularity.begin(), demand.popularity.end());
  at(rows, hottest - demand.popularity.begin()) = 1;
}

}  // namespace

std::int64_t Dropping::padded_rows(const Gate& gate, std::int64_t tokens) const {
  return padded ? expert_capacity(*this, gate, tokens) : 0;
}

double Dropping::kept(const Gate& gate, std::int64_t sources, std::int64_t tokens) const {
  if (factor == 0) return 1;
  const double chance = even_share(gate);
  if (of == CapacityOf::expert)
    return 1 - over_of_expert(*this, gate, tokens, chance) / (chance * static_cast<double>(tokens));
  const std::vector<double> own(static_cast<std::size_t>(std::max<std::int64_t>(1, gate.experts / sources)),
                                chance);
  return 1 - over_of_rank(*this, gate, static_cast<double>(sources * tokens), own);
}

void Dropping::fill(const Demand& demand, Loads& loads) const {
  if (factor == 0) return fill_expected(demand, loads);
  std::vector<std::int64_t> rows = expected_rows(demand);
  const std::int64_t all = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  const std::vector<double> over = over_of_experts(*this, demand);
  const std::int64_t most =
      of == CapacityOf::expert ? demand.sources * expert_capacity(*this, demand.gate, demand.tokens) : all;
  for (std::size_t e = 0; e < rows.size(); ++e)
    rows[e] = std::clamp<std::int64_t>(rows[e] - std::llround(over[e]), 0, most);
  keep_one(demand, rows);
  divide(rows, demand, loads);
  loads.dropped = all - std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  loads.capacity = padded_rows(demand.gate, demand.tokens);
}

Dropping read_dropping(Reader& reader) {
  static constexpr std::string_view owners[] = {"expert", "rank"};
  Dropping dropping;
  dropping.factor = reader.number({.name = "capacity_factor",
                                   .help = "rows that are taken over the even share, the others dropped; 0 "
                                           "takes all (moe_expert_capacity_factor of Megatron-Core)",
                                   .fallback = 0.0,
                                   .at_least = 0.0,
                                   .at_most = 1000.0});
  dropping.of = static_cast<CapacityOf>(
      reader.choice({.name = "capacity_of",
                     .help = "whose it is: an expert's, of the rows of one source, or a rank's, of all rows "
                             "for its experts in order (DeepSeek-V2)",
                     .fallback = "expert"},
                    owners));
  dropping.padded = reader.flag(
      {.name = "padded",
       .help = "buffers are sent and computed whole, full or not (moe_pad_expert_input_to_capacity)",
       .fallback = false});
  if (dropping.padded && !reader.is_describing()) {
    if (dropping.factor == 0)
      reader.fail("padded", "is true, but without capacity_factor nothing has a size");
    if (dropping.of == CapacityOf::rank)
      reader.fail("padded", "is true, but buffers are of experts: expected capacity_of 'expert'");
  }
  return dropping;
}

}  // namespace moesim
