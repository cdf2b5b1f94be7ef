#include "sim/report/lifetimes.hpp"

#include <map>
#include <tuple>
#include <utility>

#include "models/base/at.hpp"
#include "sim/layer/acts.hpp"
#include "sim/schedule/stage.hpp"

namespace moesim {
Lifetimes::Lifetimes(const Work& work) : work_(work), scenario_(work.scenario) {
  keep_layers();
  play_order();
}

void Lifetimes::keep_layers() {
  const std::vector<std::size_t> shape = first_of_shape(scenario_.model);
  layers_.resize(shape.size());
  for (std::size_t layer = 0; layer < shape.size(); ++layer) {
    if (shape[layer] != layer) {
      layers_[layer] = layers_[shape[layer]];
      continue;
    }
    const LayerOps ops = ops_of_layer(scenario_, layer, work_.loads.get());
    layers_[layer] = {kept_of(ops.attention), kept_of(ops.feed_forward)};
  }
  embedding_ = kept_by_embedding(scenario_);
  head_ = kept_by_head(scenario_);
}

/// A pass is played once for each stage, a pair once for each two.
void Lifetimes::play_order() {
  const ModelPrograms programs(scenario_, *work_.times);
  const auto programs_of = [&](const Issued& issued) -> const Programs& { return programs.of(issued); };
  const auto content = [&](std::size_t stage) { return content_of(scenario_.layers_per_stage, stage); };
  const auto play = [&](std::size_t stage, const Slot& slot, std::size_t beside) {
    Played made;
    const auto add = [&](const KeptChange& change) { made.changes.push_back(change); };
    if (slot.overlapped) {
      visit_changes_by_pair(content(stage), content(beside), programs_of, add);
    } else {
      visit_changes(content(stage), slot.pass, programs_of, add);
    }
    for (const KeptChange& change : made.changes) made.swing.add(change_by(change.pass, kept_by(change)));
    played_.push_back(std::move(made));
    return played_.size() - 1;
  };
  std::map<std::tuple<std::size_t, Pass, std::size_t>, std::size_t> known;
  const StageTable stages(work_.order);
  for (std::size_t rank = 0; rank < work_.order.ranks.size(); ++rank) {
    const std::vector<Slot>& slots = work_.order.ranks[rank];
    std::vector<Issue>& issues = issues_.emplace_back();
    for (std::size_t i = 0; i < slots.size(); i += slots[i].overlapped ? 2 : 1) {
      const std::size_t alone = scenario_.layers_per_stage.size();
      const std::size_t stage = stages.stage_of(rank, slots[i]);
      const std::size_t beside = slots[i].overlapped ? stages.stage_of(rank, slots[i + 1]) : alone;
      const auto [found, is_new] = known.try_emplace({stage, slots[i].pass, beside});
      if (is_new) found->second = play(stage, slots[i], beside);
      issues.push_back({i, found->second});
    }
  }
}

/// Where loads differ, of the busiest rank's experts.
Kept Lifetimes::kept_by(const KeptChange& change) const {
  if (change.layer < 0) return change.block == Activity::head ? head_ : embedding_;
  return at(layers_, change.layer)[change.block == Activity::feed_forward ? 1 : 0];
}

Bytes Lifetimes::bytes_of(const KeptChange& change, const Slot& slot, const ExpertPosition& position) const {
  const bool differs = work_.loads != nullptr && change.block == Activity::feed_forward &&
                       at(scenario_.model.layers, change.layer).is_moe;
  if (!differs) return change_by(change.pass, kept_by(change));
  const std::uint32_t loads = work_.loads->number_of(change.layer, slot.microbatch, position.group);
  const ExpertWork& work = work_.loads->work(loads, position.rank);
  return change_by(change.pass, {work.activations, work.for_weight});
}

Bytes Lifetimes::most(std::int64_t rank, const ExpertPosition& position) const {
  const auto index = static_cast<std::size_t>(rank);
  const std::vector<Slot>& slots = work_.order.ranks[index];
  Swing all;
  for (const Issue& issue : issues_[index]) {
    const Played& played = played_[issue.played];
    if (work_.loads == nullptr) {
      all.add(played.swing);
      continue;
    }
    for (const KeptChange& change : played.changes)
      all.add(bytes_of(change, slots[slot_of(issue, change, slots)], position));
  }
  return all.most;
}

HeldMost Lifetimes::most(std::int64_t rank) const {
  const bool differ = work_.loads != nullptr;
  HeldMost most;
  for (std::int64_t group = 0; group < (differ ? work_.loads->groups() : 1); ++group) {
    for (std::int64_t expert = 0; expert < (differ ? scenario_.layout.sizes().expert : 1); ++expert) {
      const ExpertPosition position{group, expert};
      if (const Bytes bytes = this->most(rank, position); bytes > most.bytes) most = {bytes, position};
    }
  }
  return most;
}

std::vector<HeldChange> Lifetimes::changes(std::int64_t rank, const ExpertPosition& position) const {
  const auto index = static_cast<std::size_t>(rank);
  const std::vector<Slot>& slots = work_.order.ranks[index];
  std::vector<HeldChange> all;
  for (const Issue& issue : issues_[index]) {
    for (const KeptChange& change : played_[issue.played].changes) {
      const std::size_t slot = slot_of(issue, change, slots);
      all.push_back({slot, change.layer, change.block, bytes_of(change, slots[slot], position)});
    }
  }
  return all;
}

}  // namespace moesim
