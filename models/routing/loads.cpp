#include "models/routing/loads.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/base/error.hpp"

namespace moesim {
namespace {

/// Experts in falling order of popularity, the lower number first where they are equal.
std::vector<std::size_t> by_popularity(std::span<const double> popularity) {
  std::vector<std::size_t> order(popularity.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return popularity[a] > popularity[b] || (popularity[a] == popularity[b] && a < b);
  });
  return order;
}

/// Shares of a token's k choices in that order, none above 1: what is over goes to the rest in proportion.
std::vector<double> capped_shares(const Demand& demand, std::span<const std::size_t> order) {
  const auto k = static_cast<double>(demand.gate.top_k);
  std::vector<double> rest(order.size() + 1, 0.0);  // of the popularity, from each place on
  for (std::size_t i = order.size(); i-- > 0;) rest[i] = rest[i + 1] + demand.popularity[order[i]];
  std::vector<double> shares(order.size());
  std::size_t full = 0;  // experts that every token goes to
  while (full < order.size()) {
    const double left = k - static_cast<double>(full);
    if (demand.popularity[order[full]] * left < rest[full] || left <= 0) break;
    shares[full++] = 1;
  }
  const double left = std::max(0.0, k - static_cast<double>(full));
  for (std::size_t i = full; i < order.size(); ++i) {
    shares[i] = rest[full] > 0 ? left * demand.popularity[order[i]] / rest[full]
                               : left / static_cast<double>(order.size() - full);
  }
  return shares;
}

bool is_even(std::span<const double> popularity) {
  return std::all_of(popularity.begin(), popularity.end(), [&](double p) { return p == popularity[0]; });
}

/// Whole rows of each expert over all sources.
std::vector<std::int64_t> expert_rows(const Demand& demand) {
  const std::int64_t tokens = demand.sources * demand.tokens;
  const std::int64_t total = tokens * demand.gate.top_k;
  std::vector<std::int64_t> rows(demand.popularity.size());
  if (is_even(demand.popularity)) {
    const auto experts = static_cast<std::int64_t>(rows.size());
    for (std::int64_t e = 0; e < experts; ++e) {
      rows[static_cast<std::size_t>(e)] = total * (e + 1) / experts - total * e / experts;
    }
    return rows;
  }
  const std::vector<std::size_t> order = by_popularity(demand.popularity);
  const std::vector<double> shares = capped_shares(demand, order);
  // Sums of shares are off by rounding: what is a whole number must not become the next one.
  const double slack = 1e-6 + 1e-12 * static_cast<double>(total);
  double sum = 0;
  std::int64_t before = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    sum += shares[i] * static_cast<double>(tokens);
    const auto through = i + 1 == order.size() ? total : static_cast<std::int64_t>(std::ceil(sum - slack));
    const std::int64_t most = std::min(total, before + tokens);
    rows[order[i]] = std::clamp(through, before, most) - before;
    before += rows[order[i]];
  }
  ensure(before == total, "every choice has an expert");
  return rows;
}

}  // namespace

std::int64_t Loads::of_expert(std::int64_t expert) const {
  std::int64_t sum = 0;
  for (std::int64_t source = 0; source < sources; ++source) sum += of(source, expert);
  return sum;
}

std::int64_t Loads::total() const { return std::accumulate(rows.begin(), rows.end(), std::int64_t{0}); }

void fill_expected(const Demand& demand, Loads& loads) {
  const auto experts = static_cast<std::size_t>(demand.gate.experts);
  const auto sources = static_cast<std::size_t>(demand.sources);
  ensure(demand.popularity.size() == experts && demand.gate.top_k <= demand.gate.experts,
         "a popularity for each expert, and k of them to choose");
  const std::vector<std::int64_t> of_expert = expert_rows(demand);
  loads.sources = demand.sources;
  loads.experts = demand.gate.experts;
  loads.dropped = loads.skipped = loads.capacity = 0;
  loads.rows.resize(sources * experts);
  std::vector<std::int64_t> even(experts);
  for (std::size_t e = 0; e < experts; ++e) even[e] = of_expert[e] / demand.sources;
  for (std::size_t s = 0; s < sources; ++s) {
    std::copy(even.begin(), even.end(), loads.rows.begin() + static_cast<std::ptrdiff_t>(s * experts));
  }
  // Rows that do not divide go to one source after the other, so each source has as many of them.
  std::size_t next = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    for (std::int64_t over = of_expert[e] % demand.sources; over > 0; --over) {
      ++loads.rows[next * experts + e];
      next = next + 1 == sources ? 0 : next + 1;
    }
  }
}

}  // namespace moesim
