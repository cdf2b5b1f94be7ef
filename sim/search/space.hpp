// All candidates of a search: the axes, the rules that cut, and the best of what is left.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "models/config/value.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/read/search_bounds.hpp"
#include "sim/search/report.hpp"

namespace moesim {

/// Everything that may be chosen. A candidate is one value of each.
struct SearchSpace {
  SizeLists sizes;  ///< of a size that follows from others: those allowed; empty: all
  Choices choices;
  Bytes memory_limit;
  bool empty_stages = false;  ///< stages may be without layers
  /// The list of that size; null is the microbatch.
  const std::vector<std::int64_t>& of(std::int64_t Sizes::*size) const;
  std::uint64_t candidates() const;
  /// Each axis with its values, for people.
  std::vector<std::string> describe() const;
};

/// The space of a scenario document; `base` is the same scenario, made.
SearchSpace search_space(const Value& document, const Scenario& base);

/// All combinations of the sizes of one part, the last axis changing fastest.
class SizeProduct {
 public:
  SizeProduct(const SearchSpace& space, SizePart part);
  std::uint64_t count() const;
  /// Sets the sizes of that combination.
  void take(std::uint64_t number, Sizes& sizes) const;

 private:
  const SearchSpace& space_;
  std::vector<std::size_t> axes_;
};

/// A candidate that no rule cut.
struct Ranked {
  std::uint64_t number = 0;  ///< its place in the space, which decides among equals
  Sizes sizes;
  std::int64_t microbatch = 1;
  Chosen chosen;
  std::vector<std::int64_t> layers_per_stage;
  Estimate estimate;
};

/// Profiles of schedules, made when first asked for. For several threads.
class Profiles {
 public:
  explicit Profiles(const SearchSpace& space) : space_(space) {}
  const PipelineProfile& of(std::size_t schedule, std::int64_t ranks, std::int64_t microbatches);

 private:
  const SearchSpace& space_;
  std::mutex mutex_;
  std::map<std::array<std::int64_t, 3>, std::unique_ptr<const PipelineProfile>> known_;
};

/// The fastest candidates, and those that nothing beats in both time and memory. The same whatever the order
/// in which candidates come.
class BestOf {
 public:
  explicit BestOf(std::size_t most) : most_(most) {}
  /// Whether a candidate of that estimate has a place; `number` decides among equals.
  bool wants(const Estimate& estimate, std::uint64_t number) const;
  void add(Ranked ranked);
  void add(BestOf other);
  const std::vector<Ranked>& fastest() const { return fastest_; }  ///< best first
  const std::vector<Ranked>& front() const { return front_; }      ///< by time

 private:
  std::size_t most_;
  std::vector<Ranked> fastest_, front_;
};

/// What came of a part of the space.
struct Explored {
  explicit Explored(std::size_t most) : best(most) {}
  std::array<std::uint64_t, cut_rule_count> cut{};
  std::uint64_t ranked = 0;
  BestOf best;
};

/// Goes through all candidates that have one combination of attention's sizes, the pipeline's aside.
void explore(const SearchSpace& space, Profiles& profiles, CostTables& tables, std::uint64_t attention,
             Explored& explored);

}  // namespace moesim
