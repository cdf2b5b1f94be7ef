// Copies of activations to the host's memory and back, in the times of stages.
#include <algorithm>
#include <vector>

#include "models/base/at.hpp"
#include "sim/estimate/costs.hpp"
#include "sim/estimate/estimate.hpp"

namespace moesim {
namespace {

bool is_mark(const Act& act) {
  return act.kind == ActKind::leaves || act.kind == ActKind::returns || act.kind == ActKind::lets_go;
}

}  // namespace

LayerCopies CostTables::copies_of(const PricedPrograms& priced, double pace) {
  const Rate host = scenario_.cluster->device.host_rate;
  LayerCopies copies;
  for (std::size_t block = 0; block < copies.times.size(); ++block)
    copies.times[block] = priced.kept[block].offloaded / host;
  for (const Pass pass : {Pass::forward, Pass::backward, Pass::backward_input}) {
    const std::vector<Act>& acts = priced.programs->of(pass).acts;
    const std::vector<ActPrice> prices = prices_.of(acts, priced.place(), groups_);
    Time before;
    for (std::size_t i = 0; i < acts.size(); ++i) {
      if (!is_mark(acts[i])) continue;
      const Time here = prices_.alone(std::span(acts).first(i), std::span(prices).first(i), pace);
      const std::size_t block = acts[i].activity == Activity::feed_forward ? 1 : 0;
      at(copies.marks, pass).push_back({acts[i].kind, block, here - before});
      before = here;
    }
    at(copies.rest, pass) = prices_.alone(acts, prices, pace) - before;
  }
  return copies;
}

void CostTables::add_copies(MicrobatchCost& cost) {
  if (scenario_.offload.is_none()) return;
  for (const PricedPrograms& priced : priced_) {
    const LayerCopies least = copies_of(priced, paces_.least);
    cost.copies.push_back({least, paces_.are_one() ? least : copies_of(priced, paces_.most)});
  }
}

/// One way, of all that leaves a stage.
Time CostTables::copied_by(const StageContent& stage) const {
  if (scenario_.offload.is_none()) return {};
  Time sum;
  for (std::size_t i = 0; i < stage.layers; ++i) {
    for (const Kept& kept : priced_[shape_of(stage.first_layer + i, static_cast<std::int64_t>(i))].kept)
      sum += kept.offloaded / scenario_.cluster->device.host_rate;
  }
  return sum;
}

void hold_up(const MicrobatchCost& cost, const std::vector<std::size_t>& kind_of_layer,
             const StageContent& content, LayerCost& stage) {
  if (cost.copies.empty()) return;
  for (std::size_t pace = 0; pace < stage.passes.size(); ++pace) {
    for (const Pass pass : {Pass::forward, Pass::backward, Pass::backward_input}) {
      std::vector<const LayerCopies*> layers;
      const Way way{content, pass != Pass::forward};
      for (std::size_t i = 0; i < content.layers; ++i) {
        const Issued layer = way.layer(i);
        layers.push_back(&cost.copies[cost.shape(at(kind_of_layer, layer.layer), layer.place)][pace]);
      }
      at(stage.passes[pace], pass) += held_up(layers, pass);
    }
  }
}

}  // namespace moesim
