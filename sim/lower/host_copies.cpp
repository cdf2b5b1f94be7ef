#include "sim/lower/host_copies.hpp"

#include <algorithm>
#include <span>

#include "models/base/at.hpp"
#include "sim/layer/issue.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

std::size_t kind_of(Activity block) { return block == Activity::feed_forward ? 1 : 0; }

/// A slot of a rank's order; the second of a pair is with the first.
template <class Visit>
void visit_turns(const std::vector<Slot>& slots, Visit visit) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const bool is_second = i > 0 && slots[i - 1].overlapped;
    if (slots[i].pass != Pass::backward_weight) visit(slots[i], is_second ? i - 1 : i);
  }
}

}  // namespace

HostCopies::HostCopies(const Work& work, const ExpertLoads* loads, const Communicators& communicators,
                       GraphBuilder& builder)
    : work_(work), loads_(loads), communicators_(communicators), builder_(builder) {
  if (work.scenario.offload.is_none()) return;
  find_bytes();
  find_turns();
  actors_.resize(communicators.actors().size());
}

void HostCopies::find_bytes() {
  const std::vector<std::size_t> shape = first_of_shape(work_.scenario);
  bytes_.resize(shape.size());
  for (std::size_t layer = 0; layer < shape.size(); ++layer) {
    bytes_[layer] = bytes_[shape[layer]];
    if (shape[layer] != layer) continue;
    const LayerOps ops = ops_of_layer(work_.scenario, layer, work_.loads.get());
    bytes_[layer] = {ops.attention.offloaded, ops.feed_forward.offloaded};
  }
}

void HostCopies::find_turns() {
  const Order& order = work_.order;
  const StageTable stages(order);
  const std::int64_t microbatches = order.microbatches();
  for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) {
    std::vector<Turn>& turns =
        turns_.emplace_back(static_cast<std::size_t>(chunks_of(order.chains) * microbatches));
    std::vector<std::size_t> forward(turns.size());
    std::int64_t before = -1;  // the backward before, and where it is
    std::size_t place_before = 0;
    visit_turns(order.ranks[rank], [&](const Slot& slot, std::size_t place) {
      const std::int64_t number = slot.chunk * microbatches + slot.microbatch;
      Turn& turn = at(turns, number);
      if (slot.pass == Pass::forward) {
        at(forward, number) = place;
        const StageContent content = content_of(work_.scenario.layers_per_stage, stages.stage_of(rank, slot));
        turn.chunk = slot.chunk;
        turn.microbatch = slot.microbatch;
        turn.first_layer = static_cast<std::int64_t>(content.first_layer);
        turn.layers = static_cast<std::int64_t>(content.layers);
        return;
      }
      turn.stays = before < 0 || place_before <= at(forward, number);
      if (!turn.stays) at(turns, before).next = number;
      before = number;
      place_before = place;
    });
  }
}

std::int64_t HostCopies::turn_of(const CopiedBlock& of) const {
  return of.chunk * work_.order.microbatches() + of.microbatch;
}

Bytes HostCopies::bytes_of(const CopiedBlock& of) const {
  const Bytes even = at(bytes_, of.layer)[kind_of(of.block)];
  const bool differs = loads_ != nullptr && of.block == Activity::feed_forward &&
                       at(work_.scenario.model.layers, of.layer).is_moe;
  if (!differs) return even;
  const ActorPlace& place = communicators_.actors()[of.actor];
  const std::uint32_t number = loads_->number_of(of.layer, of.microbatch, place.expert_group);
  return loads_->work(number, place.expert_rank).offloaded;
}

std::int64_t HostCopies::last_layer(const Turn& turn, std::int64_t from, Activity block) const {
  while (from >= turn.first_layer && at(bytes_, from)[kind_of(block)] == Bytes{}) --from;
  return from >= turn.first_layer ? from : -1;
}

bool HostCopies::stays(const CopiedBlock& of) const {
  const Turn& turn = at(at(turns_, communicators_.actors()[of.actor].pipeline_rank), turn_of(of));
  return turn.stays && last_layer(turn, turn.first_layer + turn.layers - 1, of.block) == of.layer;
}

TaskId HostCopies::copy(ActorId actor, Bytes bytes, Activity way, Tag tag) {
  const auto [known, is_new] = patterns_.try_emplace({bytes.count, actor});
  if (is_new) {
    const ActorPlace& place = communicators_.actors()[actor];
    std::int64_t devices = 0;
    for (std::uint32_t p = 0; p < work_.scenario.layout.sizes().stage_devices(); ++p)
      devices += communicators_.fold().of(p) == place.position ? 1 : 0;
    const std::array members{actor};
    known->second = builder_.add_pattern({.latency = bytes / work_.scenario.cluster->device.host_rate,
                                          .messages = devices,
                                          .bytes_sent = bytes.count * devices,
                                          .bytes_received = bytes.count * devices},
                                         {}, members);
  }
  tag.activity = way;
  const TaskId task = builder_.add_coflow(known->second, tag);
  Actor& here = actors_[actor];
  TaskId& last = way == Activity::offload ? here.out : here.in;
  builder_.add_edge(last, task);
  return last = task;
}

TaskId HostCopies::leave(const CopiedBlock& of, const Tag& tag, TaskId behind) {
  const Bytes bytes = bytes_of(of);
  if (bytes == Bytes{} || stays(of)) return nothing;
  const TaskId task = copy(of.actor, bytes, Activity::offload, tag);
  builder_.add_edge(behind, task);
  return std::exchange(actors_[of.actor].left[kind_of(of.block)], {task, turn_of(of), of.layer}).task;
}

void HostCopies::fetch(CopiedBlock of, const Tag& tag, TaskId behind) {
  const Bytes bytes = bytes_of(of);
  if (bytes == Bytes{}) return;
  const TaskId task = copy(of.actor, bytes, Activity::reload, tag);
  builder_.add_edge(behind, task);
  Actor& here = actors_[of.actor];
  const std::size_t kind = kind_of(of.block);
  if (here.left[kind].is_of(turn_of(of), of.layer)) builder_.add_edge(here.left[kind].task, task);
  here.back[kind] = {task, turn_of(of), of.layer};
}

TaskId HostCopies::come_back(const CopiedBlock& of, const Tag& tag, TaskId behind) {
  if (bytes_of(of) == Bytes{} || stays(of)) return nothing;
  const Copy& back = actors_[of.actor].back[kind_of(of.block)];
  if (!back.is_of(turn_of(of), of.layer)) fetch(of, tag, behind);
  return back.task;
}

void HostCopies::let_go(const CopiedBlock& of, const Tag& tag, TaskId behind) {
  const std::vector<Turn>& turns = at(turns_, communicators_.actors()[of.actor].pipeline_rank);
  const Turn& turn = at(turns, turn_of(of));
  CopiedBlock next = of;
  next.layer = last_layer(turn, of.layer - 1, of.block);
  if (next.layer < 0 && turn.next >= 0) {
    const Turn& after = at(turns, turn.next);
    next.chunk = after.chunk;
    next.microbatch = after.microbatch;
    next.layer = last_layer(after, after.first_layer + after.layers - 1, of.block);
  }
  if (next.layer >= 0) fetch(next, tag, behind);
}

}  // namespace moesim
