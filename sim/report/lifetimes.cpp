#include "sim/report/lifetimes.hpp"

#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "models/base/at.hpp"
#include "sim/layer/acts.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/work/update_bytes.hpp"

namespace moesim {
namespace {

Kept with_gradients(Kept kept, bool begin) {
  if (!begin) kept.gradients = {};
  return kept;
}

}  // namespace

Lifetimes::Lifetimes(const Work& work) : work_(work), scenario_(work.scenario) {
  keep_layers();
  play_order();
}

void Lifetimes::keep_layers() {
  const std::vector<std::size_t> shape = first_of_shape(scenario_);
  layers_.resize(shape.size());
  for (std::size_t layer = 0; layer < shape.size(); ++layer) {
    if (shape[layer] != layer) {
      layers_[layer] = layers_[shape[layer]];
      continue;
    }
    const LayerOps ops = ops_of_layer(scenario_, layer, work_.loads.get());
    layers_[layer] = {kept_of(ops.attention), kept_of(ops.feed_forward)};
    const auto number = static_cast<std::int64_t>(layer);
    layers_[layer][0].gradients = gradients_of(Activity::attention, number);
    layers_[layer][1].gradients = gradients_of(Activity::feed_forward, number);
    const Bytes units = units_in_backward(number);
    for (Kept& block : layers_[layer]) block.in_backward += units;
  }
  keep_spans();
  embedding_ = kept_by_embedding(scenario_);
  embedding_.gradients = gradients_of(Activity::embedding, -1);
  head_ = kept_by_head(scenario_);
  head_.gradients = gradients_of(Activity::head, -1);
}

/// Layers that are computed again together.
void Lifetimes::keep_spans() {
  if (scenario_.recompute.method != RecomputeMethod::uniform) return;
  std::int64_t first = 0;
  for (const std::int64_t layers : scenario_.layers_per_stage) {
    const auto recomputed = [&](std::int64_t place) {
      const std::array<Kept, 2>& layer = at(layers_, first + place);
      return layer[0].recomputed + layer[1].recomputed;
    };
    for (std::int64_t place = 0; place < layers; ++place)
      at(layers_, first + place)[0].span = held_by_span(scenario_.recompute, place, layers, recomputed);
    first += layers;
  }
}

/// That are held from when they are computed.
Bytes Lifetimes::gradients_of(Activity block, std::int64_t layer) const {
  if (!scenario_.software->holds_as_computed()) return {};
  const Holdings held = block_holdings(scenario_, block, layer);
  return gradient_bytes(elements_of_layer(held), holders_of(scenario_), scenario_.gradient_sync,
                        scenario_.precision);
}

/// Units that are whole while the layer runs backward, on the pipeline rank that holds most.
Bytes Lifetimes::units_in_backward(std::int64_t layer) const {
  if (!scenario_.software->holds_as_computed()) return {};
  Holdings unit = attention_holdings(scenario_, layer);
  unit += feed_forward_holdings(scenario_, layer);
  HeldElements all;
  for (std::int64_t rank = 0; rank < scenario_.layout.sizes().pipeline; ++rank) {
    const HeldElements held = held_elements(scenario_, rank);
    if (held.total() > all.total()) all = held;
  }
  return unit_bytes_in_backward(unit.total(), all, holders_of(scenario_), scenario_.gradient_sync);
}

/// A pass is played once for each stage, a pair once for each two.
void Lifetimes::play_order() {
  const ModelPrograms programs(scenario_, *work_.times);
  const auto programs_of = [&](const Issued& issued) -> const Programs& { return programs.of(issued); };
  const auto content = [&](std::size_t stage) { return content_of(scenario_.layers_per_stage, stage); };
  const auto play = [&](std::size_t stage, const Slot& slot, std::size_t beside, bool is_first) {
    Played made{.is_first = is_first};
    const auto add = [&](const KeptChange& change) { made.changes.push_back(change); };
    if (slot.overlapped) {
      visit_changes_by_pair(content(stage), content(beside), programs_of, add);
    } else {
      visit_changes(content(stage), slot.pass, programs_of, add);
    }
    for (const KeptChange& change : made.changes)
      made.swing.add(swing_by(change, with_gradients(kept_by(change), is_first)));
    played_.push_back(std::move(made));
    return played_.size() - 1;
  };
  std::map<std::tuple<std::size_t, Pass, std::size_t, bool>, std::size_t> known;
  const StageTable stages(work_.order);
  for (std::size_t rank = 0; rank < work_.order.ranks.size(); ++rank) {
    const std::vector<Slot>& slots = work_.order.ranks[rank];
    std::vector<Issue>& issues = issues_.emplace_back();
    std::set<std::int16_t> begun;  // chunks whose gradients have begun to be
    for (std::size_t i = 0; i < slots.size(); i += slots[i].overlapped ? 2 : 1) {
      const std::size_t alone = scenario_.layers_per_stage.size();
      const std::size_t stage = stages.stage_of(rank, slots[i]);
      const std::size_t beside = slots[i].overlapped ? stages.stage_of(rank, slots[i + 1]) : alone;
      const Slot& last = slots[slots[i].overlapped ? i + 1 : i];
      const bool is_first = has_weights(last.pass) && begun.insert(last.chunk).second;
      const auto [found, is_new] = known.try_emplace({stage, slots[i].pass, beside, is_first});
      if (is_new) found->second = play(stage, slots[i], beside, is_first);
      issues.push_back({i, found->second});
    }
  }
}

/// Where loads differ, of the busiest rank's experts.
Kept Lifetimes::kept_by(const KeptChange& change) const {
  if (change.layer < 0) return change.block == Activity::head ? head_ : embedding_;
  return at(layers_, change.layer)[change.block == Activity::feed_forward ? 1 : 0];
}

Kept Lifetimes::kept_by(const KeptChange& change, const Slot& slot, const ExpertPosition& position) const {
  Kept kept = kept_by(change);
  const bool differs = work_.loads != nullptr && change.block == Activity::feed_forward &&
                       at(scenario_.model.layers, change.layer).is_moe;
  if (!differs) return kept;
  const std::uint32_t loads = work_.loads->number_of(change.layer, slot.microbatch, position.group);
  const ExpertWork& work = work_.loads->work(loads, position.rank);
  kept.for_backward = work.activations - work.offloaded;
  kept.offloaded = work.offloaded;
  kept.for_weight = work.for_weight;
  return kept;
}

HeldMost Lifetimes::most(std::int64_t rank, const ExpertPosition& position) const {
  const auto index = static_cast<std::size_t>(rank);
  const std::vector<Slot>& slots = work_.order.ranks[index];
  Swing all;
  for (const Issue& issue : issues_[index]) {
    const Played& played = played_[issue.played];
    if (work_.loads == nullptr) {
      all.add(played.swing);
      continue;
    }
    for (const KeptChange& change : played.changes) {
      const Kept kept = kept_by(change, slots[slot_of(issue, change, slots)], position);
      all.add(swing_by(change, with_gradients(kept, played.is_first)));
    }
  }
  return {all.most - all.gradients_at_most, all.gradients_at_most, position};
}

HeldMost Lifetimes::most(std::int64_t rank) const {
  const bool differ = work_.loads != nullptr;
  HeldMost most;
  for (std::int64_t group = 0; group < (differ ? work_.loads->groups() : 1); ++group) {
    for (std::int64_t expert = 0; expert < (differ ? scenario_.layout.sizes().expert : 1); ++expert) {
      const HeldMost here = this->most(rank, {group, expert});
      if (here.total() > most.total()) most = here;
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
      const Swing swing = swing_by(change, kept_by(change, slots[slot], position));
      all.push_back({slot, change.layer, change.block, swing.end - swing.gradients});
    }
  }
  return all;
}

}  // namespace moesim
