#include "sim/lower/lower.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/lower/alone.hpp"
#include "sim/lower/disturb.hpp"
#include "sim/lower/fixed.hpp"
#include "sim/lower/likeness.hpp"
#include "sim/lower/passes.hpp"
#include "sim/lower/servers.hpp"
#include "sim/lower/step.hpp"
#include "sim/schedule/messages.hpp"

namespace moesim {

namespace {

/// Servers do what the ranks that they serve do not.
Fold with_servers_apart(const StepLowering& step) {
  const Scenario& scenario = step.scenario();
  const Fold& fold = step.communicators().fold();
  if (scenario.gradient_sync.updater != Updater::server || fold.count == fold.representatives.size())
    return fold;
  const std::vector<std::uint32_t> positions = positions_of_devices(scenario);
  std::vector<std::set<std::uint32_t>> roles(fold.representatives.size());
  for (const Scope scope : {Scope::data, Scope::expert_data}) {
    for (ActorId actor = 0; actor < step.communicators().actors().size(); ++actor) {
      for (const DeviceId server : servers_of(scenario, step.communicators().of(scope, actor).groups))
        roles[positions[server]].insert(static_cast<std::uint32_t>(scope));
    }
  }
  std::vector<std::vector<std::uint32_t>> signatures;
  for (const std::set<std::uint32_t>& role : roles) signatures.emplace_back(role.begin(), role.end());
  return split(scenario, fold, std::move(signatures));
}

/// By actor, what has ended with each of its slots.
using SlotEnds = std::vector<std::vector<TaskId>>;

/// One message of a rank after the other, each once its receiver has come to it.
void send_in_turn(StepLowering& step, const SlotEnds& ends) {
  const std::uint32_t positions = step.communicators().fold().count;
  std::vector<TaskId> last(ends.size(), nothing);  // message of each actor
  for (const auto& [need, behind] : messages_in_turn(step.order())) {
    for (std::uint32_t position = 0; position < positions; ++position) {
      const auto actor = [&](const Place& place) {
        return static_cast<std::size_t>(place.rank) * positions + position;
      };
      const TaskId message = step.known_arrival(need.is_gradient(), static_cast<std::int64_t>(need.to_stage),
                                                need.microbatch, position);
      if (message == nothing) continue;
      const std::size_t from = actor(need.from), to = actor(need.to);
      step.edge(last[from], message);
      if (last[to] != last[from]) step.edge(last[to], message);
      if (behind > 0) step.edge(ends[to][behind - 1], message);
      last[from] = last[to] = message;
    }
  }
}

void lower_actors(StepLowering& step) {
  Synchronisation sync(step);
  const std::vector<ActorPlace>& actors = step.communicators().actors();
  const bool in_turn = step.scenario().collectives.stage_messages == StageMessages::in_turn;
  SlotEnds ends(actors.size());
  for (ActorId actor = 0; actor < actors.size(); ++actor) {
    const std::vector<Slot>& slots = at(step.order().ranks, actors[actor].pipeline_rank);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (slots[i].overlapped) {
        lower_pair(step, sync, actor, slots[i], slots[i + 1]);
        ++i;
      } else {
        lower_slot(step, sync, actor, slots[i]);
      }
      if (in_turn) ends[actor].resize(i + 1, step.streams(actor).compute);
    }
    sync.update(actor);
  }
  if (in_turn) send_in_turn(step, ends);
}

/// Splitting multiplies tasks.
void fit_tasks(const TaskGraph& graph, const Fold& before, const Fold& after) {
  const double tasks = static_cast<double>(graph.size()) * after.count / before.count;
  if (tasks <= most_tasks) return;
  throw RunError(
      fmt::format("{} of {} devices of a pipeline rank differ on this fabric, which comes to about "
                  "{:.2g} tasks, more than {:.2g}",
                  after.count, after.representatives.size(), tasks, most_tasks));
}

/// Folded as far as the fabric treats ranks alike.
TaskGraph lower_passes(const Work& work, Fold& fold, Loading loading) {
  for (;;) {
    StepLowering step(work, loading, fold);
    Fold finer = with_servers_apart(step);
    if (finer.count == fold.count) {
      lower_actors(step);
      TaskGraph graph = step.finish();
      finer = split_unlike(work.scenario, fold, graph, step.patterns().footprints());
      if (finer.count == fold.count) return graph;
      fit_tasks(graph, fold, finer);
    }
    fold = std::move(finer);
  }
}

/// How many devices each actor stands for, where these are not as many each.
void count_devices(TaskGraph& graph, const Fold& fold) {
  graph.representatives = fold.representatives;
  std::vector<std::uint32_t> positions(fold.count, 0);
  for (const std::uint32_t representative : fold.representatives) ++positions[representative];
  if (std::all_of(positions.begin(), positions.end(), [&](auto count) { return count == positions[0]; }))
    return;
  for (ActorId actor = 0; actor < graph.actor_count; ++actor)
    graph.devices.push_back(positions[actor % fold.count]);
}

}  // namespace

TaskGraph lower(const Work& work, Loading loading) {
  const Scenario& scenario = work.scenario;
  if (scenario.communication) {
    return lower_alone(*scenario.communication, scenario.fabric(),
                       {.shares_links = scenario.engine->shares_links()});
  }
  if (scenario.fixed) {
    TaskGraph graph = lower_fixed(work.order, scenario.fixed->durations);
    if (scenario.faults.change_steps()) disturb(graph, scenario, {.count = 1, .representatives = {0}});
    return graph;
  }
  Fold fold = fold_of(scenario, loading);
  TaskGraph graph = lower_passes(work, fold, loading);
  count_devices(graph, fold);
  if (scenario.faults.change_steps()) disturb(graph, scenario, fold);
  return graph;
}

}  // namespace moesim
