#include "sim/estimate/costs.hpp"

#include <algorithm>
#include <numeric>

#include "sim/work/expert_loads.hpp"
#include "sim/work/outside.hpp"
#include "sim/work/shard_groups.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

double count(Bytes bytes) { return static_cast<double>(bytes.count); }

}  // namespace

LayerCost& LayerCost::operator+=(const LayerCost& more) {
  for (std::size_t pace = 0; pace < passes.size(); ++pace) {
    for (std::size_t pass = 0; pass < passes[pace].size(); ++pass)
      passes[pace][pass] += more.passes[pace][pass];
  }
  for (std::size_t pass = 0; pass < issue.size(); ++pass) issue[pass] += more.issue[pass];
  work += more.work;
  activations += more.activations;
  recomputed += more.recomputed;
  for_weight += more.for_weight;
  held += more.held;
  gathered += more.gathered;
  scattered += more.scattered;
  if (more.in_backward > 0) in_backward = more.in_backward;
  head_in_backward += more.head_in_backward;
  for (std::size_t block = 0; block < offloaded.size(); ++block)
    offloaded[block] = std::max(offloaded[block], more.offloaded[block]);
  placeholders = std::max(placeholders, more.placeholders);
  head_placeholders += more.head_placeholders;
  return *this;
}

CostTables::CostTables(Scenario scenario, Sizing sizing)
    : scenario_(std::move(scenario)),
      sizing_(sizing),
      traffic_(scenario_, sizing),
      prices_(scenario_, traffic_) {
  is_uneven_ = has_uneven_loads(scenario_);
  for (const std::size_t first : first_of_kind(scenario_)) {
    auto known = std::find(layer_of_kind_.begin(), layer_of_kind_.end(), first);
    if (known == layer_of_kind_.end()) known = layer_of_kind_.insert(known, first);
    kind_of_layer_.push_back(static_cast<std::size_t>(known - layer_of_kind_.begin()));
  }
}

DivisionGroups CostTables::groups(const Division& division) {
  const Layout layout(division.sizes, division.placement);
  const std::int64_t last = division.sizes.pipeline - 1;
  const auto add = [&](const std::vector<Group>& groups, bool both) {
    return traffic_.add(groups.size(), [&](std::size_t i, std::vector<DeviceId>& members) {
      for (const std::uint32_t position : groups[i]) members.push_back(layout.device(0, position));
      if (!both) return;
      for (const std::uint32_t position : groups[i]) members.push_back(layout.device(last, position));
    });
  };
  const auto positions = static_cast<std::size_t>(division.sizes.stage_devices());
  const auto add_sends_to = [&](std::int64_t rank) {
    return traffic_.add(positions, [&](std::size_t i, std::vector<DeviceId>& members) {
      const auto position = static_cast<std::uint32_t>(i);
      members = {layout.device(0, position), layout.device(rank, position)};
    });
  };
  const std::vector<Group> data = layout.data_groups();
  const std::vector<Group> expert_data = layout.expert_data_groups();
  const std::vector<Group> context = layout.context_groups();
  const bool can_be_both = last > 0;
  DivisionGroups groups{.expert = add(layout.expert_groups(), false),
                        .tensor = add(layout.tensor_groups(), false),
                        .context = add(context, false),
                        .expert_tensor = add(layout.expert_tensor_groups(), false),
                        .ring = add_ring(layout, context),
                        .data = {add(data, false), add(data, can_be_both)},
                        .expert_data = {add(expert_data, false), add(expert_data, can_be_both)},
                        .sharers = {},
                        .replicas = {},
                        .send = add_sends_to(std::min<std::int64_t>(1, last)),
                        .ends = add_sends_to(last),
                        .outside = outside(layout)};
  groups.sharers = groups.replicas = {groups.data[0], groups.expert_data[0]};
  const GradientPlan& plan = scenario_.gradient_sync;
  if (plan.shard_ranks == 0) return groups;
  groups.sharers = {add(shard_groups(data, plan), false), add(shard_groups(expert_data, plan), false)};
  groups.replicas = {add(replica_groups(data, plan), false), add(replica_groups(expert_data, plan), false)};
  return groups;
}

/// Each context-parallel rank and the next.
GroupSet CostTables::add_ring(const Layout& layout, const std::vector<Group>& context) {
  const std::size_t size = context.front().size();
  return traffic_.add(context.size() * size, [&](std::size_t i, std::vector<DeviceId>& members) {
    const Group& group = context[i / size];
    members = {layout.device(0, group[i % size]), layout.device(0, group[(i + 1) % size])};
  });
}

std::array<std::array<std::array<double, 2>, 2>, 2> CostTables::outside(const Layout& layout) const {
  std::array<std::array<std::array<double, 2>, 2>, 2> bytes{};
  for (const bool both : {false, true}) {
    for (const bool every : {false, true}) {
      for (const bool sums : {false, true}) {
        GradientPlan plan;
        plan.updater = every ? Updater::every_rank : Updater::owner;
        bytes[both][every][sums] = count(outside_tensors(scenario_, {layout, plan, both, sums}).total());
      }
    }
  }
  return bytes;
}

double CostTables::spread_of_layout() {
  const std::int64_t ranks = scenario_.layout.sizes().expert;
  if (ranks == 1) return 0;
  const bool nodes_count = scenario_.placement != Placement::in_order;
  const std::array<std::int64_t, 3> key{ranks, tokens_per_device(scenario_),
                                        nodes_count ? even_nodes(scenario_) : 1};
  const auto known = spreads_.find(key);
  if (known != spreads_.end()) return known->second;
  const double more = busiest_over_mean_rows(scenario_) - 1;
  return spreads_[key] = std::max(0.0, more) / (largest_over_mean(1, ranks) - 1);
}

void CostTables::become(const Division& division, std::int64_t microbatch, const Recompute& recompute) {
  scenario_.layout = Layout(division.sizes, division.placement);
  scenario_.batch.microbatch = microbatch;
  scenario_.recompute = recompute;
  if (is_uneven_) scenario_.routing_spread = spread_of_layout();
}

CostTables::BlockCost CostTables::cost_of(const BlockOps& ops) const {
  BlockCost cost{.times = times_of(ops, scenario_), .pieces = pieces_of(ops, scenario_), .weights = {}};
  cost.context_buffer = count(context_buffer(scenario_, ops.forward));
  cost.offloaded = count(ops.offloaded);
  cost.activations = count(ops.activations) - cost.offloaded;
  cost.for_weight = count(ops.for_weight);
  cost.recomputed = count(ops.recomputed);
  cost.again = count(ops.again);
  cost.in_backward = count(ops.in_backward);
  if (scenario_.habits().placeholder_gradients) add_weight_shapes(ops.backward_weight, cost.weights);
  return cost;
}

const std::vector<CostTables::BlockCost>& CostTables::attention(const Key& key) {
  if (const auto known = attention_.find(key); known != attention_.end()) return known->second;
  std::vector<BlockCost> all;
  for (const std::size_t layer : layer_of_kind_) {
    Share share = share_of(scenario_, layer);
    share.dispatched_rows = dispatched_rows(scenario_, layer);
    all.push_back(cost_of(lower_attention(scenario_.model, layer, share, scenario_.recompute_of(layer))));
  }
  return attention_.emplace(key, std::move(all)).first->second;
}

const std::vector<CostTables::BlockCost>& CostTables::feed_forward(const Key& key) {
  if (const auto known = feed_forward_.find(key); known != feed_forward_.end()) return known->second;
  std::vector<BlockCost> all;
  for (const std::size_t layer : layer_of_kind_) {
    const auto cost_with = [&](const std::vector<std::int64_t>& rows) {
      Share share = share_of(scenario_, layer);
      share.expert_rows = rows;
      share.dispatched_rows = dispatched_rows(scenario_, layer);
      return cost_of(lower_feed_forward(scenario_.model, layer, share, scenario_.recompute_of(layer)));
    };
    all.push_back(cost_with(expert_rows(scenario_, layer)));
    // The busiest rank differs from layer to layer, so none holds as much as all the busiest together.
    const double spread = scenario_.routing_spread;
    if (is_uneven_) scenario_.routing_spread = 0;
    const std::vector<std::int64_t> rows = expert_rows(scenario_, layer);
    if (is_uneven_) {
      const BlockCost even = cost_with(rows);
      all.back().activations = even.activations;
      all.back().for_weight = even.for_weight;
      all.back().offloaded = even.offloaded;
      all.back().recomputed = even.recomputed;
    }
    scenario_.routing_spread = spread;
    all.back().exchange_buffer =
        count(exchange_buffer(scenario_, std::accumulate(rows.begin(), rows.end(), std::int64_t{0})));
  }
  return feed_forward_.emplace(key, std::move(all)).first->second;
}

const std::array<CostTables::BlockCost, 2>& CostTables::ends(const Key& key) {
  if (const auto known = ends_.find(key); known != ends_.end()) return known->second;
  const Share share = share_of(scenario_);
  BlockCost embedding = cost_of(lower_embedding(scenario_.model, share));
  BlockCost head = cost_of(lower_head(scenario_.model, share, scenario_.habits().fused_loss));
  const auto predictions = static_cast<double>(scenario_.model.prediction_layers);
  head.times = head_times(scenario_, head.times, embedding.times);
  head.activations += predictions * (head.activations + embedding.activations);
  head.for_weight += predictions * (head.for_weight + embedding.for_weight);
  return ends_.emplace(key, std::array<BlockCost, 2>{embedding, head}).first->second;
}

CostTables::HeldCost CostTables::cost_of(const Holdings& held, const HeldElements& elements) {
  HeldCost cost{.elements = elements};
  const Collectives& all = scenario_.collectives;
  const auto again = [&](std::size_t experts, std::int64_t whole) {
    const std::int64_t shard = shard_of(whole, traffic_.group_size(groups_.sharers[experts]));
    return traffic_.seconds(groups_.replicas[experts], Operation::all_reduce, *all.gradients,
                            count(size_of(scenario_.precision.gradient) * shard));
  };
  // A server's collectives are of another kind; exact prices are of passes alone.
  if (scenario_.gradient_sync.updater == Updater::server || sizing_ == Sizing::exact) return cost;
  const Bytes gradient = size_of(scenario_.precision.gradient);
  const auto both = [&](Operation operation, const Collective& collective, Bytes replicated, Bytes experts) {
    return traffic_.seconds(groups_.sharers[0], operation, collective, count(replicated)) +
           traffic_.seconds(groups_.sharers[1], operation, collective, count(experts));
  };
  cost.gathered =
      both(Operation::all_gather, *all.parameters, sent_parameters(scenario_, held.replicated(), held.narrow),
           sent_parameters(scenario_, held.experts(), held.narrow_experts));
  cost.scattered = both(Operation::reduce_scatter, *all.gradients, gradient * held.replicated(),
                        gradient * held.experts());
  if (scenario_.gradient_sync.shard_ranks > 0)
    cost.scattered += again(0, held.replicated()) + again(1, held.experts());
  return cost;
}

/// What is held depends on the division alone.
void CostTables::find_held(const Sizes& sizes) {
  const std::array<std::int64_t, 6> key{sizes.tensor,
                                        sizes.pipeline,
                                        sizes.expert,
                                        sizes.expert_tensor,
                                        static_cast<std::int64_t>(groups_.data[0]),
                                        static_cast<std::int64_t>(groups_.expert_data[0])};
  if (key == held_key_ && !held_.empty()) return;
  held_.clear();  // stays so where a collective refuses
  std::vector<HeldCost> all;
  for (const std::size_t layer : layer_of_kind_) {
    Holdings held = attention_holdings(scenario_, static_cast<std::int64_t>(layer));
    held += feed_forward_holdings(scenario_, static_cast<std::int64_t>(layer));
    all.push_back(cost_of(held, elements_of_layer(held)));
  }
  const auto add_end = [&](const Holdings& end) { all.push_back(cost_of(end, elements_of_end(end))); };
  add_end(embedding_holdings(scenario_));
  for (const bool is_apart : {false, true}) add_end(head_holdings(scenario_, is_apart));
  embedding_copy_ = embedding_copy(scenario_);
  held_key_ = key;
  held_ = std::move(all);
}

void CostTables::add_held(const HeldCost& held, LayerCost& cost) {
  cost.held = held.elements;
  cost.gathered = held.gathered;
  cost.scattered = held.scattered;
}

const CostTables::KnownPrograms& CostTables::programs_of(LayerForm form) {
  for (const KnownPrograms& known : programs_) {
    if (known.form == form) return known;
  }
  Programs layer = programs_of_layer(form);
  Programs embedding = programs_of_embedding(form);
  Programs head = programs_of_head(form);
  return programs_.emplace_back(
      KnownPrograms{std::move(form), std::move(layer), std::move(embedding), std::move(head)});
}

/// Keeps what is priced, for passes on slower devices and pairs, and prices passes alone.
LayerCost CostTables::keep(PricedPrograms priced) {
  priced_.push_back(std::move(priced));
  PricedPrograms& kept = priced_.back();
  const AloneTimes alone = prices_.alone(*kept.programs, kept.place(), groups_, paces_);
  kept.alone = alone.passes[0];
  return {.passes = alone.passes, .issue = alone.issue, .work = alone.work};
}

LayerCost CostTables::layer(std::size_t kind, const BlockCost& attention, const BlockCost& feed_forward) {
  const std::size_t number = layer_of_kind_[kind];
  const auto in_model = static_cast<std::int64_t>(number);
  const Programs& programs =
      programs_of(form_of(scenario_, number, attention.pieces, feed_forward.pieces)).layer;
  LayerCost cost = keep({.layer = in_model,
                         .times = {attention.times, feed_forward.times, attention.pieces, feed_forward.pieces,
                                   times_of_shared_experts(scenario_, number)},
                         .kept = {attention.kept(), feed_forward.kept()},
                         .programs = &programs});
  cost.activations = attention.activations + feed_forward.activations;
  cost.for_weight = attention.for_weight + feed_forward.for_weight;
  cost.recomputed = attention.recomputed + feed_forward.recomputed;
  cost.offloaded = {attention.offloaded, feed_forward.offloaded};
  cost.in_backward = attention.again + feed_forward.again + feed_forward.in_backward;
  add_held(held_[kind], cost);
  std::vector<WeightShape> weights = attention.weights;
  weights.insert(weights.end(), feed_forward.weights.begin(), feed_forward.weights.end());
  cost.placeholders = count(placeholder_bytes(std::move(weights)));
  return cost;
}

void CostTables::add_ends(const std::array<BlockCost, 2>& blocks, MicrobatchCost& cost) {
  const KnownPrograms& known = programs_of(form_of(scenario_, 0, {}, {}));
  const auto end = [&](const BlockCost& block, const Programs& programs) {
    LayerCost of_end =
        keep({.times = {block.times, {}}, .kept = {block.kept(), Kept{}}, .programs = &programs});
    of_end.activations = block.activations;
    of_end.for_weight = block.for_weight;
    return of_end;
  };
  cost.embedding = end(blocks[0], known.embedding);
  LayerCost head = end(blocks[1], known.head);
  head.head_in_backward = blocks[1].in_backward;
  head.head_placeholders = count(placeholder_bytes(blocks[1].weights));
  const std::size_t embedding = layer_of_kind_.size();  // in held_
  add_held(held_[embedding], cost.embedding);
  for (const bool is_apart : {false, true}) {
    cost.heads[is_apart] = head;
    add_held(held_[embedding + (is_apart ? 2 : 1)], cost.heads[is_apart]);
  }
  cost.embedding_copy = embedding_copy_;
}

/// What goes from stage to stage, and what the receiving group gathers of it.
void CostTables::add_sends(MicrobatchCost& cost) {
  cost.send_buffer = count(send_buffers(scenario_));
  if (scenario_.layout.sizes().pipeline == 1) return;
  cost.send = traffic_.seconds(groups_.send, Operation::point_to_point, *scenario_.collectives.pipeline,
                               count(sent_to_stage(scenario_)));
  if (!scatters_sends(scenario_)) return;
  const LayerTimes none;
  cost.gather_sent = to_seconds(prices_.of(gather_of_sends(Pass::forward), {-1, none}, groups_).alone());
}

const std::vector<double>& CostTables::pace_of_rank() {
  std::vector<double>& known = pace_of_rank_[scenario_.layout.sizes().pipeline];
  if (known.empty()) known = paces_of(scenario_);
  return known;
}

MicrobatchCost CostTables::cost(const Division& division, const DivisionGroups& groups,
                                std::int64_t microbatch, const RecomputeChoice& recompute,
                                std::size_t recompute_number) {
  become(division, microbatch, recompute.recompute);
  groups_ = groups;
  find_held(division.sizes);
  priced_.clear();
  pairs_.clear();
  rises_.clear();
  MicrobatchCost cost;
  cost.pace_of_rank = pace_of_rank();
  const auto [least, most] = std::minmax_element(cost.pace_of_rank.begin(), cost.pace_of_rank.end());
  cost.paces = paces_ = {*least, *most};
  recompute_ = recompute.recompute;
  if (recompute_.differs_by_place())
    cost.recompute = {.method = recompute_.method, .layers = recompute_.layers};
  cost.kinds = layer_of_kind_.size();
  const std::int64_t tokens = share_of(scenario_).tokens();
  const std::array<BlockCost, 2>& both_ends = ends({division.sizes.tensor, tokens, 0, 0, 0, 0});
  BesideCompute compute;
  for (const BlockCost& end : both_ends) compute.add(end.times);
  slow_communication(compute, static_cast<std::int64_t>(recompute_number));
  for (std::size_t variant = 0; variant < recompute_.variants(); ++variant)
    add_variant(variant, static_cast<std::int64_t>(recompute_number), cost);
  add_copies(cost);
  add_ends(both_ends, cost);
  add_sends(cost);
  return cost;
}

}  // namespace moesim
