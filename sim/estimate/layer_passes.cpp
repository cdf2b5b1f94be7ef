#include "sim/estimate/layer_passes.hpp"

#include <algorithm>

#include "sim/estimate/costs.hpp"
#include "sim/layer/lifetimes.hpp"
#include "sim/work/holdings.hpp"

namespace moesim {
namespace {

bool has_pass(const Order& order, Pass pass) {
  return std::any_of(order.ranks.begin(), order.ranks.end(), [&](const std::vector<Slot>& slots) {
    return std::any_of(slots.begin(), slots.end(), [&](const Slot& slot) { return slot.pass == pass; });
  });
}

bool has_pairs(const Order& order) {
  return std::any_of(order.ranks.begin(), order.ranks.end(), [](const std::vector<Slot>& slots) {
    return std::any_of(slots.begin(), slots.end(), [](const Slot& slot) { return slot.overlapped; });
  });
}

/// Bytes of parameters that an act needs, or of gradients that it produces.
double bytes_of_holdings(const Scenario& scenario, const Act& act, std::int64_t layer) {
  const bool needs = act.kind == ActKind::needs;
  Holdings held = block_holdings(scenario, act.activity, layer);
  if (needs && act.activity == Activity::attention)
    held += block_holdings(scenario, Activity::feed_forward, layer);
  const Bytes element = size_of(needs ? Precision::bf16 : scenario.precision.gradient);
  return static_cast<double>((element * held.total()).count);
}

class Maker {
 public:
  Maker(const Order& order, CostTables& tables) : order_(order), tables_(tables) {}

  LayerPasses of(const Issued& issued) {
    LayerPasses all{.end = issued.end};
    const PricedPrograms& priced = tables_.priced(issued);
    for (const Pass pass : {Pass::forward, Pass::backward, Pass::backward_input, Pass::backward_weight}) {
      if (!has_pass(order_, pass)) continue;
      const auto number = static_cast<std::size_t>(pass);
      const Program& program = priced.programs->of(pass);
      LayerPass& made = all.passes.emplace_back(LayerPass{pass, priced.alone[number], {}, {}});
      for (const Act& act : program.acts) {
        if (act.kind != ActKind::join) made.acts.push_back(priced_act(act, priced));
      }
      for (const KeptBlock& block : program.kept) made.kept += change_by(pass, priced.kept_of(block.block));
    }
    return all;
  }

 private:
  PricedAct priced_act(const Act& act, const PricedPrograms& priced) {
    if (act.kind != ActKind::compute && act.kind != ActKind::call)
      return {act, {}, bytes_of_holdings(tables_.scenario(), act, priced.layer)};
    const ActPrice price = tables_.price(act, priced);
    return {act, price.alone(tables_.paces().least), price.sent};
  }

  const Order& order_;
  CostTables& tables_;
};

}  // namespace

std::vector<LayerPasses> layer_passes(Scenario scenario, const Order& order) {
  const Division division{scenario.layout.sizes(), scenario.layout.placement()};
  const std::int64_t microbatch = scenario.batch.microbatch;
  const Recompute recompute = scenario.recompute;
  CostTables tables(std::move(scenario), Sizing::exact);
  tables.cost(division, tables.groups(division), microbatch, {{}, recompute}, 0);
  Maker maker(order, tables);
  std::vector<LayerPasses> all{maker.of({.end = Activity::embedding})};
  const std::vector<std::size_t>& shapes = tables.shape_of_layer();
  for (std::size_t layer = 0; layer < shapes.size(); ++layer) {
    if (std::find(shapes.begin(), shapes.begin() + static_cast<std::ptrdiff_t>(layer), shapes[layer]) !=
        shapes.begin() + static_cast<std::ptrdiff_t>(layer))
      continue;
    LayerPasses& made = all.emplace_back(maker.of({.layer = static_cast<std::int64_t>(layer)}));
    made.has_experts = tables.scenario().model.layers[layer].is_moe;
    for (std::size_t same = layer; same < shapes.size(); ++same) {
      if (shapes[same] == shapes[layer]) made.layers.push_back(static_cast<std::int64_t>(same));
    }
    const StageContent one{.first_layer = layer, .layers = 1};
    if (has_pairs(order)) made.pair = tables.pair(one, one)[0];
  }
  all.push_back(maker.of({.end = Activity::head}));
  return all;
}

}  // namespace moesim
