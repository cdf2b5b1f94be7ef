// What a plan chooses besides sizes, as tables: the axes, and the words in which plans are told.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "sim/search/space.hpp"

namespace moesim {

/// What values of an axis are made of.
struct ChoiceSource {
  const Value& document;
  const Scenario& base;  ///< the same scenario, made
  const SearchBounds& bounds;
};

/// An axis whose values are no numbers: all that a search knows of it but for what the explorer does with it.
struct ChoiceAxis {
  std::string_view key;
  void (*add)(const ChoiceSource& source, SearchSpace& space);  ///< its values
  std::size_t (*count)(const SearchSpace& space);
  std::string (*name)(const SearchSpace& space, std::size_t value);  ///< for people
  /// The value of a candidate, or of the scenario itself, as a plan says it.
  void (*find)(const SearchSpace& space, const Ranked& ranked, FoundPlan& plan);
  void (*own)(const Value& document, const Scenario& scenario, FoundPlan& plan);
  /// The value of the scenario's plan where the space has none like it; else empty.
  std::string (*outside)(const SearchSpace& space, const Scenario& scenario, const FoundPlan& plan);
};
std::span<const ChoiceAxis> choice_axes();

/// What of a plan is no size, in JSON, in tables and in a scenario.
struct PlanKey {
  std::string_view key;
  std::string_view set;             ///< the key of a scenario
  Value (*read)(const FoundPlan&);  ///< null: it does not apply
  bool is_column = true;            ///< in tables too
};
std::span<const PlanKey> plan_keys();

/// The axes that are sizes, in the order in which plans are told.
std::span<const SizeAxis* const> told_sizes();

}  // namespace moesim
