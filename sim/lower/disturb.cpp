#include "sim/lower/disturb.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/error.hpp"
#include "models/base/random.hpp"

namespace moesim {
namespace {

/// A factor with mean 1 (lognormal) or at least 1 (exponential).
double factor_of(const Jitter& jitter, RandomStream& random) {
  if (jitter.kind == JitterKind::exponential) return 1 - jitter.deviation * std::log1p(-random.uniform());
  // Of a lognormal variable with mean 1 and variance v: sigma^2 = ln(1 + v), mu = -sigma^2 / 2.
  const double variance = std::log1p(jitter.deviation * jitter.deviation);
  return std::exp(std::sqrt(variance) * random.normal() - variance / 2);
}

/// Of each actor, which is a device.
std::vector<RandomStream> streams_of(std::string_view name, const TaskGraph& graph, const Scenario& scenario,
                                     const Fold& fold, std::uint64_t step = 0) {
  const Random random(scenario.faults.seed);
  std::vector<RandomStream> streams;
  for (ActorId actor = 0; actor < graph.actor_count; ++actor) {
    const DeviceId device =
        scenario.fixed ? actor : scenario.layout.device(actor / fold.count, actor % fold.count);
    streams.push_back(random.stream(name, device, step));
  }
  return streams;
}

/// All compute takes so many times as long, by actor and task.
void scale_durations(TaskGraph& graph, auto factor) {
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (graph.durations[task] == Time{}) continue;
    graph.durations[task] = std::max(Time{1}, scaled(graph.durations[task], factor(graph.actors[task])));
  }
}

/// Each device draws for its tasks in their order, whatever others do.
void vary_durations(TaskGraph& graph, const Scenario& scenario, const Fold& fold) {
  std::vector<RandomStream> streams = streams_of("jitter", graph, scenario, fold, scenario.faults.step);
  scale_durations(graph, [&](ActorId actor) { return factor_of(scenario.faults.jitter, streams[actor]); });
}

/// Devices of one kind differ as their device says, in time over the mean.
void draw_paces(TaskGraph& graph, const Scenario& scenario, const Fold& fold) {
  constexpr double fastest = 0.5;  // however large the spread
  std::vector<double> paces;
  for (RandomStream& stream : streams_of("pace", graph, scenario, fold))
    paces.push_back(std::max(fastest, 1 + scenario.cluster->device.spread * stream.normal()));
  scale_durations(graph, [&](ActorId actor) { return paces[actor]; });
}

}  // namespace

void disturb(TaskGraph& graph, const Scenario& scenario, const Fold& fold) {
  if (!scenario.faults.stragglers.empty()) graph.slownesses.resize(graph.actor_count);
  for (const Straggler& straggler : scenario.faults.stragglers) {
    const DevicePlace place = place_of(scenario, straggler.device);
    graph.slownesses[static_cast<std::size_t>(place.pipeline_rank) * fold.count + fold.of(place.position)] = {
        straggler.from, straggler.slowdown};
  }
  if (scenario.faults.paces == DevicePaces::each) draw_paces(graph, scenario, fold);
  if (scenario.faults.jitter.deviation > 0) vary_durations(graph, scenario, fold);
}

}  // namespace moesim
