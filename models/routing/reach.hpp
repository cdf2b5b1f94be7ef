// How many ranks and nodes a token goes to where some experts are more popular than others.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/routing/expert_placement.hpp"

namespace moesim {

/// Sets of k experts, each as often chosen as its rows say and otherwise as random as they can be
/// (conditional Poisson sampling; Chen, Dempster and Liu, Biometrika 81(3), 1994). Exact where all experts
/// are equally popular and any k equally likely, for one expert on a rank, and for k = 1.
class RankReach {
 public:
  /// `tokens` of all sources.
  RankReach(const RankRows& rows, std::int64_t top_k, double tokens);
  /// The chance that a token is kept by an expert on one of these ranks, in order.
  double of(std::span<const std::size_t> ranks) const;

 private:
  /// Sums over sets of so many experts of the product of their weights, by their number from 0 to k.
  using Sums = std::vector<double>;

  std::size_t top_k_;
  double kept_ = 1;                  // of all choices
  std::vector<double> rows_;         // of each rank, a token
  std::vector<Sums> of_rank_;        // of its experts
  std::vector<Sums> before_, from_;  // of the experts of all ranks before, and from this one on
  double all_ = 1;                   // of sets of k of all experts
};

}  // namespace moesim
