// How many ranks and nodes a token goes to where some experts are more popular than others.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/routing/coactivation.hpp"
#include "models/routing/expert_placement.hpp"

namespace moesim {

/// Whose topic the experts of slots are of, where topics count.
struct SlotTopics {
  std::vector<std::int64_t> of_slot{};  ///< empty: experts are chosen whatever others a token has
  std::int64_t count = 1;
  double factor = 1;
};
SlotTopics topics_of(const Coactivation& coactivation, const ExpertPlacement& placement,
                     std::int64_t experts);

/// Sets of k experts, each as often chosen as its rows say and otherwise as random as they can be
/// (conditional Poisson sampling; Chen, Dempster and Liu, Biometrika 81(3), 1994). Exact where all experts
/// are equally popular and any k equally likely, for one expert on a rank, and for k = 1. With topics a
/// token has one of them, as often as its experts have rows, and sets count the more the more experts they
/// have of it.
class RankReach {
 public:
  /// `tokens` of all sources.
  RankReach(const RankRows& rows, std::int64_t top_k, double tokens, const SlotTopics& topics = {});
  /// The chance that a token is kept by an expert on one of these ranks, in order.
  double of(std::span<const std::size_t> ranks) const;

 private:
  /// Sums over sets of so many experts of the product of their weights, by their number from 0 to k.
  using Sums = std::vector<double>;

  /// Tokens of one topic.
  struct Topic {
    double share = 1;                // of all tokens
    std::vector<Sums> of_rank;       // of its experts
    std::vector<Sums> before, from;  // of the experts of all ranks before, and from this one on
    double all = 1;                  // of sets of k of all experts
  };
  Topic topic_of(std::span<const double> weights, const RankRows& rows, double share) const;
  double missed(const Topic& topic, std::span<const std::size_t> ranks) const;

  std::size_t top_k_;
  double kept_ = 1;           // of all choices
  std::vector<double> rows_;  // of each rank, a token
  std::vector<Topic> topics_;
};

}  // namespace moesim
