// What a plan chooses: the axes that are no sizes as a table, and the words in which plans are told.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/value.hpp"
#include "sim/gradient/gradient_sync.hpp"
#include "sim/read/search_bounds.hpp"
#include "sim/report/report.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {

/// A schedule to try.
struct ScheduleChoice {
  std::string kind;
  std::int64_t chunks = 0;  ///< of interleaved; else 0: the kind decides
  std::unique_ptr<const Schedule> schedule;
};

/// A way of gradient synchronisation to try.
struct SyncChoice {
  std::string kind;
  GradientPlan plan;
};

/// All values of the axes that are no numbers.
struct Choices {
  std::vector<std::vector<Axis>> placements;
  std::vector<RecomputeChoice> recomputes;
  std::vector<ScheduleChoice> schedules;
  std::vector<SyncChoice> syncs;
};

/// The place of a candidate's value among those of each axis.
struct Chosen {
  std::size_t schedule = 0, recompute = 0, sync = 0, placement = 0;
};

/// A plan, as a scenario would say it.
struct FoundPlan {
  std::uint64_t number = 0;  ///< among all candidates
  Sizes sizes;
  std::int64_t microbatch = 1, chunks = 1;
  std::string schedule{}, gradient_sync{};
  std::vector<std::string> recompute{}, placement{};
  std::vector<std::int64_t> layers_per_stage;
  double estimated_seconds = 0, estimated_memory = 0;
  std::optional<Report> report;  ///< of the simulation
  std::string error;             ///< where it failed
};

/// "PP 16 x EP 64 x DP 128, dualpipe, ..."; sizes of 1 are left out.
std::string print(const FoundPlan& plan);

/// A size in a plan or a candidate.
template <class Plan>
auto& size_in(Plan& plan, const SizeAxis& axis) {
  return axis.size == nullptr ? plan.microbatch : plan.sizes.*axis.size;
}

/// What values of an axis are made of.
struct ChoiceSource {
  const Value& document;
  const Scenario& base;  ///< the same scenario, made
  const SearchBounds& bounds;
};

/// An axis whose values are no numbers: all that a search knows of it but for what the explorer does with it.
struct ChoiceAxis {
  std::string_view key;
  void (*add)(const ChoiceSource& source, Choices& all);  ///< its values
  std::size_t (*count)(const Choices& all);
  std::string (*name)(const Choices& all, std::size_t value);  ///< for people
  /// The value of a candidate, or of the scenario itself, as a plan says it.
  void (*find)(const Choices& all, const Chosen& chosen, FoundPlan& plan);
  void (*own)(const Value& document, const Scenario& scenario, FoundPlan& plan);
  /// The value of the scenario's plan where the space has none like it; else empty.
  std::string (*outside)(const Choices& all, const Scenario& scenario, const FoundPlan& plan);
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
