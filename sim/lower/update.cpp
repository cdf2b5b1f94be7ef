// The optimizer on one actor: all parameters, its shards of them, or those that it serves.
#include <algorithm>

#include "sim/lower/servers.hpp"
#include "sim/lower/synchronisation.hpp"

namespace moesim {
namespace {

/// Whether the actor, or a device that it stands for, is one of those.
bool stands_for(const StepLowering& step, ActorId actor, const std::vector<DeviceId>& devices) {
  const ActorPlace& place = step.communicators().actors()[actor];
  const Layout& layout = step.scenario().layout;
  for (std::uint32_t position = 0; position < layout.sizes().stage_devices(); ++position) {
    if (step.communicators().fold().of(position) != place.position) continue;
    const DeviceId device = layout.device(place.pipeline_rank, position);
    if (std::find(devices.begin(), devices.end(), device) != devices.end()) return true;
  }
  return false;
}

}  // namespace

std::int64_t Synchronisation::updated(ActorId actor, bool experts, std::int64_t elements) const {
  const Communicator& group = group_of(actor, experts);
  switch (plan_.updater) {
    case Updater::every_rank:
      return elements;
    case Updater::owner:
      return shard_of(elements, plan_.shards_over(group.group_size()));
    case Updater::server:
      break;
  }
  const bool serves = stands_for(step_, actor, servers_of(scenario_, group.groups));
  return serves ? elements : 0;
}

void Synchronisation::sum_copies(ActorId actor) {
  const PatternId copies = step_.patterns().copies(actor);
  if (copies == nothing) return;
  Tag tag;
  tag.activity = Activity::gradient;
  tag.experts = true;
  step_.call(actor, Scope::expert, copies, tag);
  step_.join(actor);
}

void Synchronisation::sum_embeddings(ActorId actor) {
  const auto ranks = embedding_ranks(scenario_);
  const std::int64_t rank = step_.communicators().actors()[actor].pipeline_rank;
  if (!ranks || std::find(ranks->begin(), ranks->end(), rank) == ranks->end()) return;
  const std::int64_t replicas =
      plan_.shards_gradients ? plan_.shards_over(group_of(actor, false).group_size()) : 1;
  const std::int64_t elements = shard_of(embedding_copy(scenario_), replicas);
  Tag tag;
  tag.activity = Activity::gradient;
  step_.call(actor, Scope::embedding,
             step_.patterns().embedding(actor, size_of(scenario_.precision.gradient) * elements), tag);
  step_.join(actor);
}

void Synchronisation::run(ActorId actor, const std::vector<Repeated>& ops) {
  if (ops.empty()) return;
  Tag tag;
  tag.activity = Activity::optimizer;
  tag.pipeline_rank = static_cast<std::int16_t>(pipeline_rank_of(actor));
  step_.compute(actor, sum_of(ops, scenario_).timed(), tag);
  step_.join(actor);
}

void Synchronisation::prepare_gradients(ActorId actor) {
  run(actor, gradient_ops(scenario_, held_by(actor).total()));
}

void Synchronisation::optimize(ActorId actor) {
  const Holdings& held = held_by(actor);
  Updated part = updated_part(elements_of_layer(held), {}, at(weights_, pipeline_rank_of(actor)));
  const auto matrices = static_cast<double>(std::max<std::int64_t>(1, part.all - part.rest));
  part.all = updated(actor, false, held.replicated()) + updated(actor, true, held.experts());
  part.rest = updated(actor, false, held.rest());
  part.narrow = updated(actor, false, held.narrow) + updated(actor, true, held.narrow_experts);
  part.share = static_cast<double>(part.all - part.rest) / matrices;
  run(actor, update_ops(scenario_, part));
}

}  // namespace moesim
