#include "sim/work/work.hpp"

#include <algorithm>

#include "models/base/error.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

/// Durations of an average stage, without communication.
void add_durations(const WorkTimes& times, std::int64_t stages, PipelineShape& shape) {
  const auto average = [&](OpPass pass) { return std::max(Time{1}, times.of_model(pass) / stages); };
  shape.forward = average(OpPass::forward);
  shape.backward_input = average(OpPass::backward_input);
  shape.backward_weight = average(OpPass::backward_weight);
}

Order order_of(const Schedule& schedule, const PipelineShape& shape) {
  if (const Fit fit = schedule.fits(shape)) throw InputError(std::string(fit->key()), fit->what());
  Order order = schedule.order(shape);
  check(order);
  return order;
}

}  // namespace

PipelineShape shape_of_pipeline(const Scenario& scenario) {
  PipelineShape shape{.ranks = scenario.layout.sizes().pipeline, .microbatches = scenario.microbatches()};
  if (scenario.fixed) {
    const PassDurations& durations = scenario.fixed->durations;
    shape.forward = durations.forward;
    shape.backward_input = durations.backward_input;
    shape.backward_weight = durations.backward_weight;
    shape.send = durations.send;
  } else {
    const std::int64_t layers = std::ssize(scenario.model.layers);
    shape.kept_for_weight = most_kept_for_weight(scenario, layers / scenario.stages());
  }
  return shape;
}

Work work_of(const Scenario& scenario) {
  Work work{.scenario = scenario, .order = {}};
  if (scenario.communication) {
    work.order.ranks.resize(1);
    return work;
  }
  PipelineShape shape = shape_of_pipeline(scenario);
  if (!scenario.fixed) {
    work.paces = paces_of(scenario);
    work.times.emplace(scenario);
    add_durations(*work.times, scenario.stages(), shape);
    if (has_uneven_loads(scenario)) {
      work.loads = std::make_unique<const ExpertLoads>(scenario);
      work.times.emplace(scenario, work.loads.get());
    }
  }
  work.order = order_of(*scenario.schedule, shape);
  return work;
}

}  // namespace moesim
