#include "sim/estimate/layer_passes.hpp"

#include <algorithm>
#include <array>

#include "sim/estimate/act_ops.hpp"
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
  const Bytes bytes = needs ? sent_parameters(scenario, held.total(), held.narrow + held.narrow_experts)
                            : size_of(scenario.precision.gradient) * held.total();
  return static_cast<double>(bytes.count);
}

/// For each act the ones that it waits for; a join stands for all that it joins.
std::vector<std::vector<std::size_t>> waits_of(std::span<const Act> acts) {
  std::vector<std::vector<std::size_t>> waits;
  std::array<std::vector<std::size_t>, lane_count> lanes;  // what each has come to
  for (std::size_t i = 0; i < acts.size(); ++i) {
    const Act& act = acts[i];
    std::vector<std::size_t> behind = lanes[act.behind];
    if (act.also_behind != no_lane)
      behind.insert(behind.end(), lanes[act.also_behind].begin(), lanes[act.also_behind].end());
    if (act.kind != ActKind::produces)
      lanes[act.lane] = act.kind == ActKind::join ? behind : std::vector<std::size_t>{i};
    waits.push_back(std::move(behind));
  }
  return waits;
}

std::int64_t group_size(const Sizes& sizes, const Act& call) {
  switch (scope_of(call.activity)) {
    case Scope::expert:
      return sizes.expert;
    case Scope::context:
      return sizes.context;
    case Scope::expert_tensor:
      return sizes.expert_tensor;
    default:
      return sizes.tensor;
  }
}

/// Whether a call of a backward repeats one of the forward.
bool is_again(const Act& call) {
  return call.pass == OpPass::forward || call.activity == Activity::dispatch ||
         call.activity == Activity::combine;
}

/// Joins take no row: acts are counted without them.
std::vector<std::size_t> without_joins(std::span<const Act> acts, const std::vector<std::size_t>& waits) {
  std::vector<std::size_t> rows;
  rows.reserve(waits.size());
  for (const std::size_t act : waits)
    rows.push_back(static_cast<std::size_t>(
        std::count_if(acts.begin(), acts.begin() + static_cast<std::ptrdiff_t>(act),
                      [](const Act& before) { return before.kind != ActKind::join; })));
  return rows;
}

class Maker {
 public:
  Maker(const Order& order, CostTables& tables)
      : order_(order), scenario_(tables.scenario()), tables_(tables) {}

  LayerPasses of(const Issued& issued) {
    LayerPasses all{.end = issued.end};
    keeps_ = issued.layer < 0 ? !scenario_.recompute.full || scenario_.recompute.differs_by_place()
                              : !scenario_.recompute_of(static_cast<std::size_t>(issued.layer)).full;
    const PricedPrograms& priced = tables_.priced(issued);
    const ActOps ops(scenario_, issued);
    for (const Pass pass : {Pass::forward, Pass::backward, Pass::backward_input, Pass::backward_weight}) {
      if (has_pass(order_, pass)) all.passes.push_back(pass_of(pass, priced, ops));
    }
    return all;
  }

 private:
  LayerPass pass_of(Pass pass, const PricedPrograms& priced, const ActOps& ops) {
    const auto number = static_cast<std::size_t>(pass);
    const Program& program = priced.programs->of(pass);
    LayerPass made{pass, priced.alone[number], {}, {}};
    const std::vector<std::vector<std::size_t>> waits = waits_of(program.acts);
    for (std::size_t i = 0; i < program.acts.size(); ++i) {
      const Act& act = program.acts[i];
      if (act.kind == ActKind::join) continue;
      PricedAct& row = made.acts.emplace_back(priced_act(act, priced, ops));
      row.waits_for = without_joins(program.acts, waits[i]);
      if (pass != Pass::forward && act.kind == ActKind::call && is_again(act)) row.again = row.time;
      for (const KeptBlock& block : program.kept) {
        if (block.act == i && !block.again) row.kept += change_by(pass, priced.kept_of(block.block));
      }
      made.kept += row.kept;
    }
    return made;
  }

  PricedAct priced_act(const Act& act, const PricedPrograms& priced, const ActOps& ops) {
    PricedAct row{.act = act};
    if (act.kind == ActKind::leaves || act.kind == ActKind::returns) {
      row.bytes = static_cast<double>(priced.kept_of(act.activity).offloaded.count);
      return row;
    }
    if (act.kind == ActKind::lets_go) return row;
    if (act.kind != ActKind::compute && act.kind != ActKind::call) {
      row.bytes = bytes_of_holdings(scenario_, act, priced.layer);
      return row;
    }
    const ActPrice price = tables_.price(act, priced);
    row.time = price.alone(tables_.paces().least);
    row.bytes = price.sent;
    if (act.kind == ActKind::call) row.group_size = group_size(scenario_.layout.sizes(), act);
    if (act.kind == ActKind::compute) add_ops(ops.of(act), row);
    return row;
  }

  /// Ops of a forward in a backward are computed again.
  void add_ops(OpsOfAct of, PricedAct& row) {
    row.flops = total_flops(of.ops) * of.share;
    row.ops = priced_ops(of, scenario_, tables_.paces().least, keeps_);
    for (const PricedOp& op : row.ops) row.moved += op.price.moved;
    if (row.act.pass != OpPass::backward_input) return;
    const std::size_t all = of.ops.size();
    std::erase_if(of.ops, [](const Op& op) { return op.pass != OpPass::forward; });
    row.again =
        of.ops.size() == all ? row.time : scaled(time_of(of.ops, scenario_).time, tables_.paces().least);
  }

  const Order& order_;
  const Scenario& scenario_;
  CostTables& tables_;
  bool keeps_ = true;  // of what ops keep, something: it is not computed again whole
};

/// Of a head.
LayerPasses::Matrix matrix_of(const Scenario& scenario) {
  if (!scenario.model.tied_embedding) return LayerPasses::Matrix::own;
  return is_head_apart(scenario.chains) ? LayerPasses::Matrix::copy_of_embedding
                                        : LayerPasses::Matrix::of_embedding;
}

}  // namespace

std::vector<LayerPasses> layer_passes(Scenario scenario, const Order& order) {
  const Division division{scenario.layout.sizes(), scenario.layout.placement()};
  const std::int64_t microbatch = scenario.batch.microbatch;
  const Recompute recompute = scenario.recompute;
  CostTables tables(std::move(scenario), Sizing::exact);
  tables.cost(division, tables.groups(division), microbatch, {{}, recompute}, 0);
  Maker maker(order, tables);
  std::vector<LayerPasses> all{maker.of({.end = Activity::embedding})};
  const std::vector<std::size_t> shapes = first_of_shape(tables.scenario());
  for (std::size_t layer = 0; layer < shapes.size(); ++layer) {
    if (std::find(shapes.begin(), shapes.begin() + static_cast<std::ptrdiff_t>(layer), shapes[layer]) !=
        shapes.begin() + static_cast<std::ptrdiff_t>(layer))
      continue;
    const auto number = static_cast<std::int64_t>(layer);
    const std::int64_t place = tables.scenario().place_in_stage(number);
    LayerPasses& made = all.emplace_back(maker.of({.layer = number, .place = place}));
    made.has_experts = tables.scenario().model.layers[layer].is_moe;
    for (std::size_t same = layer; same < shapes.size(); ++same) {
      if (shapes[same] == shapes[layer]) made.layers.push_back(static_cast<std::int64_t>(same));
    }
    const StageContent one{.first_layer = layer, .layers = 1, .first_place = place};
    if (has_pairs(order)) made.pair = tables.pair(one, one)[0];
  }
  all.push_back(maker.of({.end = Activity::head}));
  all.back().matrix = matrix_of(tables.scenario());
  return all;
}

}  // namespace moesim
