// Schedules for tests: made from a line of JSON, asked for an order, replayed.
#pragma once

#include <memory>
#include <string>

#include "models/config/document.hpp"
#include "sim/schedule/replay.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim::testing {

/// The member that `text` names: a kind, or a JSON object with its keys.
inline std::unique_ptr<const Schedule> schedule_of(const std::string& text,
                                                   Register<Schedule> members = schedules()) {
  const Value value =
      parse_json(text.front() == '{' ? text : "{\"kind\": \"" + text + "\"}", "schedule of a test");
  Reader reader(value, "schedule");
  return make_member(reader, members, "pipeline schedule");
}

/// The durations that a shape tells, a pair taking as long as its two passes.
inline PassDurations durations_of(const PipelineShape& shape) {
  return {.forward = shape.forward,
          .backward_input = shape.backward_input,
          .backward_weight = shape.backward_weight,
          .overlapped = shape.forward + shape.backward_input + shape.backward_weight,
          .send = shape.send};
}

/// All work of one rank in one step, without overlap.
inline Time work_of(const PipelineShape& shape) {
  return (shape.forward + shape.backward_input + shape.backward_weight) * shape.microbatches;
}

}  // namespace moesim::testing
