#include "models/routing/reach.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/base/at.hpp"

namespace moesim {
namespace {

constexpr double never = 1e-12, always = 1 - 1e-9;  // chances of experts that no token has, or every one
constexpr double close_enough = 1e-3;               // of a chance
constexpr int most_rounds = 20;

using Sums = std::vector<double>;

/// Those of one expert more.
void add_expert(Sums& sums, double weight) {
  for (std::size_t j = sums.size() - 1; j > 0; --j) sums[j] += weight * sums[j - 1];
}

/// Those of the experts of both.
Sums joined(const Sums& one, const Sums& other) {
  Sums both(one.size(), 0.0);
  for (std::size_t i = 0; i < one.size(); ++i) {
    for (std::size_t j = 0; i + j < both.size(); ++j) both[i + j] += one[i] * other[j];
  }
  return both;
}

/// Of sets with `count` experts of both.
double joined_at(const Sums& one, const Sums& other, std::size_t count) {
  double sum = 0;
  for (std::size_t j = 0; j <= count; ++j) sum += one[j] * other[count - j];
  return sum;
}

Sums none(std::size_t top_k) {
  Sums sums(top_k + 1, 0.0);
  sums[0] = 1;
  return sums;
}

/// Weights whose median is 1: sums of k products stay far from the limits of a double, whatever the largest.
void normalise(std::vector<double>& weights) {
  std::vector<double> sorted = weights;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  const double median = *middle;
  for (double& weight : weights) weight /= median;
}

/// What tokens of a topic make of the weights of experts.
std::vector<double> weights_in(const std::vector<double>& weights, const SlotTopics& topics,
                               std::int64_t topic) {
  std::vector<double> own = weights;
  for (std::size_t e = 0; e < topics.of_slot.size(); ++e)
    own[e] *= topics.of_slot[e] == topic ? topics.factor : 1;
  return own;
}

/// For each expert, sums over sets of k - 1 of the others; over sets of k of all.
struct SetSums {
  std::vector<double> others;
  double all = 1;
};

SetSums sets_of(const std::vector<double>& weights, std::size_t top_k) {
  std::vector<Sums> before{none(top_k)};
  for (const double weight : weights) {
    before.push_back(before.back());
    add_expert(before.back(), weight);
  }
  SetSums sets{.others = std::vector<double>(weights.size()), .all = before.back()[top_k]};
  Sums behind = none(top_k);
  for (std::size_t e = weights.size(); e-- > 0;) {
    sets.others[e] = joined_at(before[e], behind, top_k - 1);
    add_expert(behind, weights[e]);
  }
  return sets;
}

/// Shares of tokens that have each topic.
std::vector<double> shares_of_topics(std::span<const double> chances, const SlotTopics& topics,
                                     std::size_t top_k) {
  if (topics.of_slot.empty()) return {1.0};
  std::vector<double> shares(static_cast<std::size_t>(topics.count), 0.0);
  for (std::size_t e = 0; e < chances.size(); ++e)
    at(shares, topics.of_slot[e]) += chances[e] / static_cast<double>(top_k);
  return shares;
}

/// One step to weights under which experts have these chances (Chen, Dempster and Liu, 1994, equation 3),
/// over tokens of all topics. Returns how far the chances of the weights before were off.
double improve(std::vector<double>& weights, std::span<const double> chances, const SlotTopics& topics,
               std::span<const double> shares, std::size_t top_k) {
  SetSums sets;
  for (std::size_t topic = 0; topic < shares.size(); ++topic) {
    const auto number = static_cast<std::int64_t>(topic);
    SetSums own = sets_of(weights_in(weights, topics, number), top_k);
    if (topic == 0) sets = {.others = std::vector<double>(weights.size(), 0.0), .all = own.all};
    for (std::size_t e = 0; e < weights.size(); ++e) {
      const bool is_its = !topics.of_slot.empty() && topics.of_slot[e] == number;
      sets.others[e] += own.others[e] * shares[topic] * (is_its ? topics.factor : 1) * (sets.all / own.all);
    }
  }
  double off = 0;
  for (std::size_t e = 0; e < weights.size(); ++e) {
    off = std::max(off, std::abs(weights[e] * sets.others[e] / sets.all - chances[e]));
    weights[e] = chances[e] * sets.all / sets.others[e];
  }
  normalise(weights);
  return off;
}

std::vector<double> weights_of(std::span<const double> chances, const SlotTopics& topics,
                               std::span<const double> shares, std::size_t top_k) {
  std::vector<double> weights;
  weights.reserve(chances.size());
  for (const double chance : chances) weights.push_back(chance / (1 - chance));
  normalise(weights);
  for (int round = 0; round < most_rounds && improve(weights, chances, topics, shares, top_k) > close_enough;
       ++round) {
  }
  return weights;
}

}  // namespace

SlotTopics topics_of(const Coactivation& coactivation, const ExpertPlacement& placement,
                     std::int64_t experts) {
  SlotTopics topics{.count = coactivation.topics, .factor = coactivation.factor};
  for (const std::int32_t expert : placement.expert_of_slot)
    topics.of_slot.push_back(coactivation.topic_of(expert, experts));
  return topics;
}

RankReach::RankReach(const RankRows& rows, std::int64_t top_k, double tokens, const SlotTopics& topics)
    : top_k_(static_cast<std::size_t>(std::min(top_k, std::ssize(rows.slot_rows)))) {
  const double all = std::accumulate(rows.slot_rows.begin(), rows.slot_rows.end(), 0.0);
  const double choices = tokens * static_cast<double>(top_k);
  kept_ = all / choices;
  std::vector<double> chances;
  chances.reserve(rows.slot_rows.size());
  for (const std::int64_t of_slot : rows.slot_rows) {
    const double share = all > 0 ? static_cast<double>(of_slot) / all : 0;
    chances.push_back(std::clamp(share * static_cast<double>(top_k_), never, always));
  }
  const std::vector<double> shares = shares_of_topics(chances, topics, top_k_);
  const std::vector<double> weights =
      all > 0 ? weights_of(chances, topics, shares, top_k_) : std::vector<double>(chances.size(), 1.0);
  for (std::int64_t rank = 0; rank < rows.ranks; ++rank)
    rows_.push_back(static_cast<double>(rows.of_rank(rank)) / tokens);
  for (std::size_t topic = 0; topic < shares.size(); ++topic) {
    topics_.push_back(
        topic_of(weights_in(weights, topics, static_cast<std::int64_t>(topic)), rows, shares[topic]));
  }
}

RankReach::Topic RankReach::topic_of(std::span<const double> weights, const RankRows& rows,
                                     double share) const {
  Topic topic{.share = share, .of_rank = {}, .before = {none(top_k_)}, .from = {}};
  const auto slots = static_cast<std::size_t>(rows.slots_per_rank);
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(rows.ranks); ++rank) {
    Sums own = none(top_k_);
    for (const double weight : weights.subspan(rank * slots, slots)) add_expert(own, weight);
    topic.before.push_back(joined(topic.before.back(), own));
    topic.of_rank.push_back(std::move(own));
  }
  topic.all = topic.before.back()[top_k_];
  topic.from.assign(topic.before.size(), none(top_k_));
  for (std::size_t rank = topic.of_rank.size(); rank-- > 0;)
    topic.from[rank] = joined(topic.from[rank + 1], topic.of_rank[rank]);
  return topic;
}

double RankReach::missed(const Topic& topic, std::span<const std::size_t> ranks) const {
  Sums others = topic.before[ranks.front()];
  for (std::size_t i = 1; i < ranks.size(); ++i) {
    for (std::size_t rank = ranks[i - 1] + 1; rank < ranks[i]; ++rank)
      others = joined(others, topic.of_rank[rank]);
  }
  return joined_at(others, topic.from[ranks.back() + 1], top_k_) / topic.all;
}

double RankReach::of(std::span<const std::size_t> ranks) const {
  double rows = 0;
  for (const std::size_t rank : ranks) rows += rows_[rank];
  double none_there = 0;
  for (const Topic& topic : topics_) none_there += topic.share * missed(topic, ranks);
  return std::min(rows, kept_ * (1 - none_there));
}

}  // namespace moesim
