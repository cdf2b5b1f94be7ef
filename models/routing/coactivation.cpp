#include "models/routing/coactivation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "models/base/error.hpp"
#include "models/config/fields.hpp"

namespace moesim {
namespace {

/// Sums, over sets of `count` of so many experts of a topic and of others, of the product of their weights.
double sets_of(std::int64_t of_topic, std::int64_t others, std::int64_t count, double factor) {
  const auto choose = [](std::int64_t from, std::int64_t some) {
    double ways = 1;
    for (std::int64_t i = 0; i < some; ++i)
      ways *= static_cast<double>(std::max<std::int64_t>(from - i, 0)) / static_cast<double>(i + 1);
    return ways;
  };
  double sum = 0;
  for (std::int64_t j = 0; j <= count; ++j)
    sum += choose(of_topic, j) * std::pow(factor, static_cast<double>(j)) * choose(others, count - j);
  return sum;
}

}  // namespace

void check(const Coactivation& coactivation, const Gate& gate) {
  if (gate.top_k < 2) {
    throw InputError("", fmt::format("coactivation is given, but a token has top_k {} expert: none that it "
                                     "chooses together with another",
                                     gate.top_k));
  }
  if (gate.experts % coactivation.topics != 0) {
    throw InputError("", fmt::format("{} experts do not divide into {} topics of coactivation", gate.experts,
                                     coactivation.topics));
  }
}

Coactivation read_coactivation(Reader reader) {
  Coactivation coactivation;
  read_fields(
      reader, coactivation,
      field(&Coactivation::topics, {.name = "topics",
                                    .help = "equal parts of the experts whose popularity goes together",
                                    .at_least = 2,
                                    .at_most = 1'000'000}),
      field(&Coactivation::factor,
            {.name = "factor",
             .help = "how much likelier a token chooses an expert of its topic than another one",
             .at_least = 1.0,
             .at_most = 1000.0}),
      choice(&Coactivation::order, topic_order_names,
             {.name = "order",
              .help = "experts of a topic are neighbours (together), or lie a topic's number apart",
              .fallback = "together"}));
  reader.finish();
  return coactivation;
}

double coactive_reach(const Gate& gate, const Coactivation& coactivation, std::int64_t blocks) {
  ensure(blocks >= 1 && gate.experts % coactivation.topics == 0, "topics divide the experts of blocks");
  const std::int64_t size = gate.experts / coactivation.topics;
  const double all = sets_of(size, gate.experts - size, gate.top_k, coactivation.factor);
  double reached = 0;
  std::int64_t expert = 0;
  for (std::int64_t block = 0; block < blocks; ++block) {
    std::vector<std::int64_t> of_topics(static_cast<std::size_t>(coactivation.topics), 0);
    std::int64_t inside = 0;
    for (; expert < gate.experts && expert * blocks / gate.experts == block; ++expert, ++inside)
      ++at(of_topics, coactivation.topic_of(expert, gate.experts));
    for (const std::int64_t own : of_topics) {
      const double missed =
          sets_of(size - own, gate.experts - size - (inside - own), gate.top_k, coactivation.factor) / all;
      reached += (1 - missed) / static_cast<double>(coactivation.topics);
    }
  }
  return reached;
}

}  // namespace moesim
