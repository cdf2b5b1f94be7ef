#include "models/routing/loads.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "models/base/at.hpp"
#include "models/base/error.hpp"

namespace moesim {
namespace {

bool is_even(std::span<const double> popularity) {
  return std::all_of(popularity.begin(), popularity.end(), [&](double p) { return p == popularity[0]; });
}

}  // namespace

/// What is over 1 goes to the others in proportion.
std::vector<double> chances(const Demand& demand) {
  const std::span<const double> popularity = demand.popularity;
  std::vector<double> shares(popularity.size(), 0.0);
  auto left = static_cast<double>(demand.gate.top_k);
  std::size_t open = shares.size();  // experts that not every token goes to
  while (true) {
    double rest = 0;
    for (std::size_t e = 0; e < shares.size(); ++e) rest += shares[e] < 1 ? popularity[e] : 0;
    const std::size_t before = open;
    double taken = 0;
    for (std::size_t e = 0; e < shares.size(); ++e) {
      if (shares[e] == 1) continue;
      shares[e] = rest > 0 ? left * popularity[e] / rest : left / static_cast<double>(before);
      if (shares[e] < 1) continue;
      shares[e] = 1;
      taken += 1;
      --open;
    }
    if (open == before || open == 0) return shares;
    left -= taken;
  }
}

std::vector<std::int64_t> expected_rows(const Demand& demand) {
  const std::int64_t tokens = demand.sources * demand.tokens;
  const std::int64_t total = tokens * demand.gate.top_k;
  std::vector<std::int64_t> rows(demand.popularity.size());
  if (is_even(demand.popularity)) {
    const auto experts = static_cast<std::int64_t>(rows.size());
    for (std::int64_t e = 0; e < experts; ++e) {
      at(rows, e) = total * (e + 1) / experts - total * e / experts;
    }
    return rows;
  }
  const std::vector<double> shares = chances(demand);
  const auto hottest =
      static_cast<std::size_t>(std::max_element(shares.begin(), shares.end()) - shares.begin());
  // Sums of shares are off by rounding: what is a whole number must not become the next one.
  const double slack = 1e-6 + 1e-12 * static_cast<double>(total);
  double sum = 0;
  std::int64_t before = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t e = i == 0 ? hottest : i <= hottest ? i - 1 : i;  // the hottest first, then by number
    sum += shares[e] * static_cast<double>(tokens);
    const auto through = i + 1 == rows.size() ? total : static_cast<std::int64_t>(std::ceil(sum - slack));
    rows[e] = std::clamp<std::int64_t>(through - before, 0, std::min(tokens, total - before));
    before += rows[e];
  }
  ensure(before == total, "every choice has an expert");
  return rows;
}

std::int64_t Loads::of_expert(std::int64_t expert) const {
  std::int64_t sum = 0;
  for (std::int64_t source = 0; source < sources; ++source) sum += of(source, expert);
  return sum;
}

std::vector<std::int64_t> Loads::of_experts() const {
  std::vector<std::int64_t> sums(static_cast<std::size_t>(experts), 0);
  for (auto row = rows.begin(); row != rows.end(); row += experts) {
    std::transform(sums.begin(), sums.end(), row, sums.begin(), std::plus<>());
  }
  return sums;
}

std::int64_t Loads::total() const { return std::accumulate(rows.begin(), rows.end(), std::int64_t{0}); }

void fill_expected(const Demand& demand, Loads& loads) {
  ensure(std::ssize(demand.popularity) == demand.gate.experts && demand.gate.top_k <= demand.gate.experts,
         "a popularity for each expert, and k of them to choose");
  divide(expected_rows(demand), demand, loads);
}

void divide(std::span<const std::int64_t> of_expert, const Demand& demand, Loads& loads) {
  const auto experts = static_cast<std::size_t>(demand.gate.experts);
  const auto sources = static_cast<std::size_t>(demand.sources);
  loads.sources = demand.sources;
  loads.experts = demand.gate.experts;
  loads.dropped = loads.skipped = loads.capacity = 0;
  loads.rows.resize(sources * experts);
  // Rows that do not divide go to one source after the other, so each source has as many of them: `over`
  // sources from `first` on have one more. In 32 bits, and without branches, as this is the inner loop of all
  // routing.
  std::vector<std::int64_t> even(experts);
  std::vector<std::int32_t> first(experts);
  std::vector<std::int32_t> over(experts);
  const auto count = static_cast<std::int32_t>(demand.sources);
  for (std::size_t e = 0; e < experts; ++e) {
    even[e] = of_expert[e] / demand.sources;
    over[e] = static_cast<std::int32_t>(of_expert[e] % demand.sources);
    if (e + 1 < experts) first[e + 1] = (first[e] + over[e]) % count;
  }
  std::int64_t* row = loads.rows.data();
  for (std::int32_t s = 0; s < count; ++s, row += experts) {
    for (std::size_t e = 0; e < experts; ++e) {
      const std::int32_t behind = s - first[e];
      const std::int32_t wrapped = behind + (behind < 0 ? count : 0);
      row[e] = even[e] + (wrapped < over[e] ? 1 : 0);
    }
  }
}

}  // namespace moesim
