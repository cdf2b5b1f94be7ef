// Goes through the candidates of a search: rules cut whole branches where they can, the rest is estimated.
#include <algorithm>
#include <array>
#include <limits>
#include <optional>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/estimate/split.hpp"
#include "sim/read/precision.hpp"
#include "sim/read/rules.hpp"
#include "sim/search/space.hpp"

namespace moesim {
namespace {

bool is_before(const Ranked& a, const Ranked& b) {
  return a.estimate.seconds != b.estimate.seconds ? a.estimate.seconds < b.estimate.seconds
                                                  : a.number < b.number;
}

/// As fast and as small, and better in one; of equals the one that comes first.
bool beats(const Estimate& a, std::uint64_t number_a, const Estimate& b, std::uint64_t number_b) {
  if (a.seconds > b.seconds || a.memory > b.memory) return false;
  return a.seconds < b.seconds || a.memory < b.memory || number_a < number_b;
}

class Explorer {
 public:
  Explorer(const SearchSpace& space, Profiles& profiles, CostTables& tables, Explored& explored)
      : space_(space),
        profiles_(profiles),
        tables_(tables),
        explored_(explored),
        experts_(space, SizePart::experts),
        microbatches_(space.of(nullptr)),
        optimizer_(update_seconds(tables.scenario())),
        has_experts_(tables.scenario().model.has_experts()) {}

  /// All candidates that have those sizes of attention.
  void sizes(std::uint64_t number) {
    const std::vector<std::int64_t>& pipelines = space_.of(&Sizes::pipeline);
    for (std::size_t p = 0; p < pipelines.size(); ++p) {
      at_ = {};
      SizeProduct(space_, SizePart::attention).take(number, at_.sizes);
      at_.sizes.pipeline = pipelines[p];
      attention(number * pipelines.size() + p);
    }
  }

 private:
  const Scenario& scenario() const { return tables_.scenario(); }
  std::uint64_t below_placement() const { return microbatches_.size() * below_microbatch(); }
  std::uint64_t below_microbatch() const { return space_.choices.recomputes.size() * below_recompute(); }
  std::uint64_t below_recompute() const {
    return space_.choices.schedules.size() * space_.choices.syncs.size();
  }
  void cut(CutRule rule, std::uint64_t count) { at(explored_.cut, rule) += count; }

  /// The rule that cuts all that have these sizes of attention.
  std::optional<CutRule> cuts_attention() {
    const std::int64_t devices = scenario().fabric().device_count();
    Sizes& sizes = at_.sizes;
    if (divides_devices(devices, sizes)) return CutRule::devices;
    sizes.data = devices / (sizes.pipeline * sizes.tensor * sizes.context);
    const std::vector<std::int64_t>& data = space_.of(&Sizes::data);
    if (!data.empty() && std::find(data.begin(), data.end(), sizes.data) == data.end()) return CutRule::data;
    if (divides_heads(scenario().model, sizes)) return CutRule::model;
    if (divides_tokens_of(scenario().batch, sizes)) return CutRule::sequence;
    if (sizes.pipeline > std::ssize(scenario().model.layers)) return CutRule::stages;
    if (scenario().offload.layers > 0 && sizes.pipeline > 1) return CutRule::stages;
    return {};
  }

  void attention(std::uint64_t number) {
    const std::uint64_t divisions = experts_.count();
    if (const std::optional<CutRule> rule = cuts_attention())
      return cut(*rule, divisions * space_.choices.placements.size() * below_placement());
    for (std::uint64_t of_experts = 0; of_experts < divisions; ++of_experts) {
      experts_.take(of_experts, at_.sizes);
      division(number * divisions + of_experts);
    }
  }

  /// The rule that cuts all that have these sizes of experts.
  std::optional<CutRule> cuts_experts() const {
    const Model& model = scenario().model;
    if (divides_stage(at_.sizes)) return CutRule::devices;
    if (has_experts_to_spread(model, at_.sizes) ||
        divides_slots(model, scenario().redundant_experts, at_.sizes) || divides_columns(model, at_.sizes))
      return CutRule::model;
    return {};
  }

  void division(std::uint64_t number) {
    if (const std::optional<CutRule> rule = cuts_experts())
      return cut(*rule, space_.choices.placements.size() * below_placement());
    std::vector<Layout> before;
    for (std::size_t p = 0; p < space_.choices.placements.size(); ++p) {
      at_.chosen.placement = p;
      const Division division{at_.sizes, space_.choices.placements[p]};
      const Layout layout(division.sizes, division.placement);
      const auto is_same = [&](const Layout& other) { return layout.lays_as(other, has_experts_); };
      if (std::any_of(before.begin(), before.end(), is_same)) {
        cut(CutRule::same_placement, below_placement());
      } else if (fits_groups(scenario(), layout)) {
        cut(CutRule::placement, below_placement());
      } else {
        before.push_back(layout);
        microbatches(division, number * space_.choices.placements.size() + p);
      }
    }
  }

  void microbatches(const Division& division, std::uint64_t number) {
    std::optional<DivisionGroups> groups;  // of many divisions nobody asks
    for (std::size_t i = 0; i < microbatches_.size(); ++i) {
      at_.microbatch = microbatches_[i];
      Batch batch = scenario().batch;
      batch.microbatch = at_.microbatch;
      if (divides_sequences(batch, at_.sizes) || limits_tokens(batch)) {
        cut(CutRule::batch, below_microbatch());
        continue;
      }
      const std::int64_t count = batch.sequences / (at_.sizes.data * at_.microbatch);
      if (limits_microbatches(batch, at_.sizes) || limits_tasks(1, count, scenario().model)) {
        cut(CutRule::tasks, below_microbatch());
        continue;
      }
      find_profiles(count);
      costs_.clear();
      if (!groups) groups = tables_.groups(division);
      for (std::size_t r = 0; r < space_.choices.recomputes.size(); ++r) {
        at_.chosen.recompute = r;
        recompute(division, *groups,
                  (number * microbatches_.size() + i) * space_.choices.recomputes.size() + r);
      }
    }
  }

  void find_profiles(std::int64_t microbatches) {
    of_schedule_.clear();
    for (std::size_t s = 0; s < space_.choices.schedules.size(); ++s)
      of_schedule_.push_back(&profiles_.of(s, at_.sizes.pipeline, microbatches));
  }

  void recompute(const Division& division, const DivisionGroups& groups, std::uint64_t number) {
    MicrobatchCost cost;
    try {
      cost = tables_.cost(division, groups, at_.microbatch, space_.choices.recomputes[at_.chosen.recompute],
                          at_.chosen.recompute);
    } catch (const InputError&) {
      return cut(CutRule::collective, below_recompute());
    }
    if (std::find(costs_.begin(), costs_.end(), cost) != costs_.end())
      return cut(CutRule::same_plan, below_recompute());
    costs_.push_back(cost);
    stages_.clear();
    orders_.clear();
    bool has_one = false;
    for (std::size_t s = 0; s < space_.choices.schedules.size(); ++s) {
      const PipelineProfile& profile = *of_schedule_[s];
      const auto layers = static_cast<std::int64_t>(scenario().model.layers.size());
      CutRule rule{};
      if (profile.is_refused) {
        rule = CutRule::schedule;
      } else if (profile.stages > layers ||
                 again_of_stage() > (layers + profile.stages - 1) / profile.stages) {
        rule = CutRule::stages;
      } else if (at_.sizes.pipeline == 1 && has_one) {
        rule = CutRule::one_rank;
      } else if (is_known_order(profile)) {
        rule = CutRule::same_plan;
      } else {
        has_one = true;
        at_.chosen.schedule = s;
        schedule(cost, groups, profile, number * space_.choices.schedules.size() + s);
        continue;
      }
      cut(rule, space_.choices.syncs.size());
    }
  }

  /// Layers of a stage that are computed again by their number: no more than the fullest has where they are
  /// dealt out evenly.
  std::int64_t again_of_stage() const {
    const Recompute& chosen = space_.choices.recomputes[at_.chosen.recompute].recompute;
    return chosen.method == RecomputeMethod::all ? 0 : chosen.layers;
  }

  /// Whether a schedule before has the same passes in the same order. Remembers it where none has.
  bool is_known_order(const PipelineProfile& profile) {
    if (profile.order == 0) return false;
    if (std::find(orders_.begin(), orders_.end(), profile.order) != orders_.end()) return true;
    orders_.push_back(profile.order);
    return false;
  }

  /// One way to cut the model into stages.
  struct Split {
    std::vector<std::int64_t> layers;
    StageCosts costs;
  };
  /// Those of a pipeline with that many stages: even in time, and even in number where that is another.
  struct Stages {
    std::int64_t count;
    std::vector<Split> splits;
  };
  const Stages& stages(const MicrobatchCost& cost, std::int64_t count) {
    for (const Stages& known : stages_) {
      if (known.count == count) return known;
    }
    const std::vector<std::size_t>& kinds = tables_.kind_of_layer();
    const std::vector<std::int64_t> even =
        fill_layers(static_cast<std::int64_t>(kinds.size()), count, space_.empty_stages);
    weights_.clear();
    for (const std::int64_t layers : even) {  // where layers differ by their places, as if it were so
      for (std::int64_t place = 0; place < layers; ++place)
        weights_.push_back(cost.layers[cost.shape(kinds[weights_.size()], place)].seconds());
    }
    Stages& stages = stages_.emplace_back(Stages{count, {}});
    const auto add = [&](std::vector<std::int64_t> layers) {
      if (!stages.splits.empty() && stages.splits.front().layers == layers) return;
      StageCosts costs = stage_costs(cost, kinds, layers);
      stages.splits.push_back({std::move(layers), std::move(costs)});
    };
    add(split_layers(weights_, cost.embedding.seconds(), cost.heads.front().seconds(), count));
    add(even);
    return stages;
  }

  void schedule(const MicrobatchCost& cost, const DivisionGroups& groups, const PipelineProfile& profile,
                std::uint64_t number) {
    const Stages& all = stages(cost, profile.stages);
    pipelines_.clear();
    for (const Split& split : all.splits) pipelines_.emplace_back(tables_, cost, profile, split.costs);
    for (std::size_t i = 0; i < space_.choices.syncs.size(); ++i) {
      const GradientPlan& plan = space_.choices.syncs[i].plan;
      const bool to_server = plan.updater == Updater::server;
      if ((plan.shards_passes() && profile.is_bidirectional) ||
          fits_narrow_weights(scenario().precision, plan) ||
          to_server != (scenario().gradient_sync.updater == Updater::server) || !shards_fit(plan, groups)) {
        cut(CutRule::gradient_sync, 1);
        continue;
      }
      if (is_known_sync(i, groups, profile.is_bidirectional)) {
        cut(CutRule::same_plan, 1);
        continue;
      }
      at_.number = number * space_.choices.syncs.size() + i;
      at_.chosen.sync = i;
      candidate({plan, groups, optimizer_}, all);
    }
  }

  /// Shards over part of the ranks are those of the scenario, and divide the ranks.
  bool shards_fit(const GradientPlan& plan, const DivisionGroups& groups) const {
    if (plan.shard_ranks != scenario().gradient_sync.shard_ranks) return false;
    return plan.shard_ranks == 0 || tables_.traffic().group_size(groups.data[0]) % plan.shard_ranks == 0;
  }

  /// Whether a way of synchronisation before does the same: where nobody holds the same parameters, nothing
  /// is sent and nothing is divided.
  bool is_known_sync(std::size_t number, const DivisionGroups& groups, bool is_bidirectional) {
    const std::size_t both = is_bidirectional ? 1 : 0;
    if (number == 0 || tables_.traffic().group_size(groups.data[both]) > 1 ||
        tables_.traffic().group_size(groups.expert_data[both]) > 1)
      return false;
    const auto all_here = [](const GradientPlan& plan) {
      return plan.updater != Updater::server && !plan.shards_parameters;
    };
    return all_here(space_.choices.syncs[number].plan) &&
           std::any_of(space_.choices.syncs.begin(),
                       space_.choices.syncs.begin() + static_cast<std::ptrdiff_t>(number),
                       [&](const SyncChoice& sync) {
                         return all_here(sync.plan) && !(is_bidirectional && sync.plan.shards_gradients);
                       });
  }

  /// Of the ways to cut the model, the fastest that fits. No more is found out of one that has no place
  /// however fast it may turn out.
  void candidate(const SyncPlan& sync, const Stages& all) {
    const auto limit = static_cast<double>(space_.memory_limit.count);
    std::array<double, 2> memory{};
    bool fits = false;
    bool is_wanted = false;
    for (std::size_t i = 0; i < pipelines_.size(); ++i) {
      memory[i] = pipelines_[i].memory(sync, limit);
      if (memory[i] > limit) continue;
      fits = true;
      is_wanted =
          is_wanted || explored_.best.wants({pipelines_[i].least_seconds(sync), memory[i]}, at_.number);
    }
    if (!fits) return cut(CutRule::memory, 1);
    ++explored_.ranked;
    if (!is_wanted) return;
    std::size_t fastest = 0;
    at_.estimate.seconds = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < pipelines_.size(); ++i) {
      if (memory[i] > limit) continue;
      const double seconds = pipelines_[i].seconds(sync);
      if (seconds >= at_.estimate.seconds) continue;
      fastest = i;
      at_.estimate = {seconds, memory[i]};
    }
    if (!explored_.best.wants(at_.estimate, at_.number)) return;
    at_.layers_per_stage = all.splits[fastest].layers;
    explored_.best.add(at_);
  }

  const SearchSpace& space_;
  Profiles& profiles_;
  CostTables& tables_;
  Explored& explored_;
  SizeProduct experts_;
  const std::vector<std::int64_t>& microbatches_;
  UpdateSeconds optimizer_;
  bool has_experts_;
  Ranked at_;                          // the candidate under way
  std::vector<MicrobatchCost> costs_;  // of recomputations before
  std::vector<std::uint64_t> orders_;  // of schedules before
  std::vector<const PipelineProfile*> of_schedule_;
  std::vector<Stages> stages_;
  std::vector<PipelineEstimate> pipelines_;
  std::vector<double> weights_;
};

}  // namespace

bool BestOf::wants(const Estimate& estimate, std::uint64_t number) const {
  if (fastest_.size() < most_ || estimate.seconds <= fastest_.back().estimate.seconds) return true;
  return std::none_of(front_.begin(), front_.end(), [&](const Ranked& other) {
    return beats(other.estimate, other.number, estimate, number);
  });
}

void BestOf::add(Ranked ranked) {
  const bool is_beaten = std::any_of(front_.begin(), front_.end(), [&](const Ranked& other) {
    return other.number == ranked.number ||
           beats(other.estimate, other.number, ranked.estimate, ranked.number);
  });
  if (!is_beaten) {
    std::erase_if(front_, [&](const Ranked& other) {
      return beats(ranked.estimate, ranked.number, other.estimate, other.number);
    });
    front_.insert(std::upper_bound(front_.begin(), front_.end(), ranked, is_before), ranked);
  }
  // Of plans with the same estimate the first stands for all.
  for (auto same =
           std::lower_bound(fastest_.begin(), fastest_.end(), ranked.estimate.seconds,
                            [](const Ranked&a, double seconds) { return a.estimate.seconds < seconds; });
       same != fastest_.end() && same->estimate.seconds == ranked.estimate.seconds; ++same) {
    if (same->estimate.memory != ranked.estimate.memory) continue;
    if (ranked.number >= same->number) return;
    fastest_.erase(same);
    break;
  }
  const auto place = std::upper_bound(fastest_.begin(), fastest_.end(), ranked, is_before);
  if (place == fastest_.end() && fastest_.size() >= most_) return;
  fastest_.insert(place, std::move(ranked));
  if (fastest_.size() > most_) fastest_.pop_back();
}

void BestOf::add(BestOf other) {
  for (std::vector<Ranked>* list : {&other.fastest_, &other.front_}) {
    for (Ranked& ranked : *list) {
      const bool is_known = std::any_of(fastest_.begin(), fastest_.end(),
                                        [&](const Ranked& known) { return known.number == ranked.number; });
      if (!is_known) add(std::move(ranked));
    }
  }
}

void explore(const SearchSpace& space, Profiles& profiles, CostTables& tables, std::uint64_t attention,
             Explored& explored) {
  Explorer(space, profiles, tables, explored).sizes(attention);
}

}  // namespace moesim
