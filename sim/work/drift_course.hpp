// The steps of a run over which loads drift, one after the other.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "models/routing/drift.hpp"
#include "sim/work/moves.hpp"

namespace moesim {

/// One step.
struct CourseStep {
  std::int64_t number = 0;  ///< from 0
  std::shared_ptr<const Skew> skew;
  std::shared_ptr<const Placements> placed;  ///< null where experts are in order
  std::vector<Flow> moves;                   ///< of experts, before it
  bool is_as_before = false;                 ///< loads and placements are those of the step before, for sure

  /// Makes of a scenario of the run this step of it.
  void become(Scenario& scenario) const;
};

/// All steps of a scenario's run. The scenario outlives it.
class DriftCourse {
 public:
  explicit DriftCourse(const Scenario& scenario);
  /// The next one; the first is the scenario itself.
  CourseStep next();

 private:
  std::shared_ptr<const LayerPopularity> popularity() const;
  std::vector<double> known_load(std::int64_t layer) const;
  void place_anew(CourseStep& step);

  const Scenario& scenario_;
  std::int64_t nodes_ = 1;
  std::int64_t steps_ = 0;  // so far
  bool is_drawn_ = false;   // whether steps with the same popularity differ
  std::vector<DriftingLayer> layers_;
  std::vector<std::int64_t> numbers_;  // of these layers in the model
  std::shared_ptr<const LayerPopularity> current_;
  std::deque<std::shared_ptr<const LayerPopularity>> window_;  // that a new placement goes by
  std::shared_ptr<const Placements> placed_;
};

}  // namespace moesim
