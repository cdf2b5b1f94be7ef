#include "sim/estimate/estimate.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/layer/lifetimes.hpp"
#include "sim/work/update.hpp"

namespace moesim {
namespace {

double count(Bytes bytes) { return static_cast<double>(bytes.count); }

/// Over what a stage holds when its backward begins. Its head goes first.
double rise_by_spans(const MicrobatchCost& cost, const StageContent& stage, auto layer_at) {
  if (cost.recompute.method != RecomputeMethod::uniform) return 0;
  const auto layers = static_cast<std::int64_t>(stage.layers);
  const auto recomputed = [&](std::int64_t place) { return layer_at(place).recomputed; };
  double held = stage.has_head ? -cost.heads.front().activations : 0;
  double most = 0;
  for (std::int64_t place = layers - 1; place >= 0; --place) {
    held += held_by_span(cost.recompute, place, layers, recomputed);
    most = std::max(most, held);
    held -= layer_at(place).activations;
  }
  return most;
}

}  // namespace

StageCosts stage_costs(const MicrobatchCost& cost, const std::vector<std::size_t>& kind_of_layer,
                       const std::vector<std::int64_t>& layers_per_stage) {
  StageCosts stages;
  stages.costs.resize(layers_per_stage.size());
  std::size_t first = 0;
  for (std::size_t stage = 0; stage < layers_per_stage.size(); ++stage) {
    const auto layers = static_cast<std::size_t>(layers_per_stage[stage]);
    const StageContent content{.first_layer = first,
                               .layers = layers,
                               .has_embedding = stage == 0,
                               .has_head = stage + 1 == layers_per_stage.size()};
    stages.contents.push_back(content);
    const auto layer_at = [&](std::int64_t place) -> const LayerCost& {
      return cost.layers[cost.shape(kind_of_layer[first + static_cast<std::size_t>(place)], place)];
    };
    for (std::int64_t place = 0; place < layers_per_stage[stage]; ++place)
      stages.costs[stage] += layer_at(place);
    hold_up(cost, kind_of_layer, content, stages.costs[stage]);
    stages.spans.push_back(rise_by_spans(cost, content, layer_at));
    first += layers;
  }
  stages.costs.front() += cost.embedding;
  return stages;
}

namespace {

/// What the rank holds at the worst of the moments that the profile knows; without tables, without what rises
/// in the midst of passes.
double most_alive(CostTables* tables, const PipelineProfile& profile, std::size_t rank,
                  const StageCosts& stages) {
  const std::span<const std::size_t> held = profile.stages_of(rank);
  const auto content = [&](std::int16_t chunk) -> const StageContent& {
    return stages.contents[at(held, chunk)];
  };
  double most = 0;
  for (const AliveMoment& moment : profile.moments[rank]) {
    double sum = 0;
    for (std::size_t chunk = 0; chunk < held.size(); ++chunk) {
      const LayerCost& stage = stages.costs[held[chunk]];
      sum += moment.chunks[chunk].for_backward * stage.activations +
             moment.chunks[chunk].for_weight * stage.for_weight;
    }
    if (tables != nullptr && moment.input >= 0) sum += tables->rise_of_input(content(moment.input));
    if (tables != nullptr && moment.forward >= 0)
      sum += tables->rise_of_pair(content(moment.forward), content(moment.backward));
    most = std::max(most, sum);
  }
  return most;
}

/// What more is held when a backward begins, which what is alive is at its most before: with the head's, or
/// with the last layer's once the head's activations are gone. Of a rank with one stage; else nothing is
/// counted.
double rise_of_backward(const PipelineProfile& profile, std::size_t rank, const StageCosts& stages,
                        double head_activations) {
  const std::span<const std::size_t> held = profile.stages_of(rank);
  if (held.size() != 1) return 0;
  const LayerCost& stage = stages.costs[held.front()];
  const double span = profile.weights_apart ? 0 : stages.spans[held.front()];
  if (!stages.contents[held.front()].has_head) return std::max(span, stage.in_backward);
  return std::max({span, stage.head_in_backward, stage.in_backward - head_activations});
}

/// Seconds at a pace between two.
double between(Time least, Time most, double share) {
  return to_seconds(least) + (to_seconds(most) - to_seconds(least)) * share;
}

}  // namespace

PipelineEstimate::PipelineEstimate(CostTables& tables, const MicrobatchCost& cost,
                                   const PipelineProfile& profile, StageCosts stages)
    : tables_(tables),
      scenario_(tables.scenario()),
      cost_(cost),
      profile_(profile),
      stages_(std::move(stages)),
      ranks_(profile.work.size()) {
  stages_.costs.back() += cost.heads[profile.is_head_apart ? 1 : 0];
  if (profile.is_head_apart) embedding_copy_ = cost.embedding_copy;
  const auto chunks = static_cast<double>(profile.chunks);
  for (std::size_t r = 0; r < ranks_.size(); ++r) {
    Rank& rank = ranks_[r];
    has_pairs_ = has_pairs_ || !profile.overlapped[r].empty();
    for (const std::size_t stage : profile.stages_of(r)) {
      const LayerCost& cost_of_stage = stages_.costs[stage];
      const StageContent& content = stages_.contents[stage];
      const auto issue = [&](Pass pass) { return to_seconds(at(cost_of_stage.issue, pass)) / chunks; };
      rank.issue += {.forward = issue(Pass::forward),
                     .backward = issue(Pass::backward),
                     .backward_input = issue(Pass::backward_input)};
      const bool has_end = content.has_embedding || content.has_head;
      rank.units += static_cast<double>(content.layers + (has_end ? 1 : 0)) / chunks;
      rank.gathered += cost_of_stage.gathered / chunks;
      rank.scattered += cost_of_stage.scattered / chunks;
      rank.held += cost_of_stage.held;
      rank.placeholders = std::max(rank.placeholders, cost_of_stage.placeholders);
      for (std::size_t block = 0; block < rank.offloaded.size(); ++block)
        rank.offloaded[block] = std::max(rank.offloaded[block], cost_of_stage.offloaded[block]);
    }
    for (const std::size_t stage : profile.stages_of(r))
      rank.placeholders += stages_.costs[stage].head_placeholders;
    rank.activations = most_alive(nullptr, profile, r, stages_) +
                       rise_of_backward(profile, r, stages_, cost.heads.front().activations);
  }
}

void PipelineEstimate::count_rises() {
  if (rises_counted_) return;
  rises_counted_ = true;
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank)
    ranks_[rank].activations = most_alive(&tables_, profile_, rank, stages_) +
                               rise_of_backward(profile_, rank, stages_, cost_.heads.front().activations);
}

void PipelineEstimate::time_passes() {
  if (passes_timed_) return;
  passes_timed_ = true;
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) ranks_[rank].passes = passes_of(rank);
}

void PipelineEstimate::time_pairs() {
  time_passes();
  if (pairs_timed_ || !has_pairs_) return;
  pairs_timed_ = true;
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank)
    ranks_[rank].passes.overlapped += std::max(0.0, seconds_of_pairs(rank) - least_of_pairs(rank));
}

/// Of the mean chunk of a rank; pairs at their least.
PassSeconds PipelineEstimate::passes_of(std::size_t rank) const {
  const double share = cost_.paces.share_of(cost_.pace_of_rank[rank]);
  PassSeconds passes;
  const auto [arrive, come_back] = profile_.arrivals[rank];
  const double gathers = cost_.gather_sent * arrive;
  const double gathers_back = cost_.gather_sent * come_back;
  passes = {.forward = gathers,
            .backward = gathers_back,
            .backward_input = gathers_back,
            .overlapped = gathers + gathers_back};
  for (const std::size_t stage : profile_.stages_of(rank)) {
    const std::array<PassTimes, 2>& times = stages_.costs[stage].passes;
    const auto in = [&](Pass pass) { return between(at(times[0], pass), at(times[1], pass), share); };
    passes.forward += in(Pass::forward);
    passes.backward += in(Pass::backward);
    passes.backward_input += in(Pass::backward_input);
    passes.backward_weight += in(Pass::backward_weight);
  }
  passes *= 1 / static_cast<double>(profile_.chunks);
  passes.overlapped += least_of_pairs(rank);
  return passes;
}

namespace {

/// The mean over a rank's pairs of something that `of` two stages comes to: that of the forward, that of the
/// backward.
template <class Of>
double mean_of_pairs(const PipelineProfile& profile, std::size_t rank, Of of) {
  const std::span<const std::size_t> held = profile.stages_of(rank);
  double sum = 0;
  double count = 0;
  for (const OverlappedChunks& pair : profile.overlapped[rank]) {
    sum += pair.count * of(at(held, pair.forward), at(held, pair.backward));
    count += pair.count;
  }
  return count > 0 ? sum / count : 0;
}

}  // namespace

/// All compute of a pair, or all its calls.
double PipelineEstimate::least_of_pairs(std::size_t rank) const {
  const double pace = cost_.pace_of_rank[rank];
  return mean_of_pairs(profile_, rank, [&](std::size_t forward, std::size_t backward) {
    const WorkSeconds& f = stages_.costs[forward].work;
    const WorkSeconds& b = stages_.costs[backward].work;
    return std::max(pace * (f.forward + b.backward), f.forward_sent + b.backward_sent);
  });
}

double PipelineEstimate::seconds_of_pairs(std::size_t rank) {
  const double share = cost_.paces.share_of(cost_.pace_of_rank[rank]);
  return mean_of_pairs(profile_, rank, [&](std::size_t forward, std::size_t backward) {
    const auto [least, most] = tables_.pair(stages_.contents[forward], stages_.contents[backward]);
    return between(least, most, share);
  });
}

/// Work of the slowest rank, and what passes take in the mean of ranks.
double PipelineEstimate::slowest(const SyncPlan& sync, PassSeconds& mean) const {
  double slowest = 0;
  for (std::size_t r = 0; r < ranks_.size(); ++r) {
    const PassSeconds passes = synchronised(r, sync);
    slowest = std::max(slowest, total(profile_.work[r], passes));
    mean += passes;
  }
  mean *= 1 / static_cast<double>(ranks_.size());
  mean.send = cost_.send;
  return slowest;
}

/// What the longest path has beyond a rank's work where all stages are alike.
double PipelineEstimate::beyond_slowest(const PassSeconds& mean) const {
  double even = 0;
  for (const PassCounts& work : profile_.work) even = std::max(even, total(work, mean));
  double longest = even;
  for (const PassCounts& path : profile_.paths) longest = std::max(longest, total(path, mean));
  return longest - even;
}

double PipelineEstimate::least_seconds(const SyncPlan& sync) {
  if (!has_pairs_) return seconds(sync);
  time_passes();
  PassSeconds mean;
  const double work = slowest(sync, mean);
  return work + beside_passes(sync);
}

double PipelineEstimate::seconds(const SyncPlan& sync) {
  time_pairs();
  PassSeconds mean;
  const double work = slowest(sync, mean);
  return work + beyond_slowest(mean) + beside_passes(sync);
}

double PipelineEstimate::beside_passes(const SyncPlan& sync) const {
  return to_seconds(scenario_.habits().host.start) + update(sync);
}

/// Of the rank with most parameters: gradients, optimizer and parameters, one after the other.
double PipelineEstimate::update(const SyncPlan& sync) const {
  const GradientPlan& plan = sync.plan;
  const UpdateSeconds& each = sync.each;
  TrafficTimes& traffic = tables_.traffic();
  const Rank& rank = *std::max_element(ranks_.begin(), ranks_.end(), [](const Rank& a, const Rank& b) {
    return a.held.total() < b.held.total();
  });
  const std::size_t both = profile_.is_bidirectional ? 1 : 0;
  const auto gathered = [&](Operation operation) {
    const Collective& collective = *scenario_.collectives.parameters;
    const HeldElements& held = rank.held;
    return traffic.seconds(sync.groups.data[both], operation, collective,
                           count(sent_parameters(scenario_, held.replicated, held.narrow))) +
           traffic.seconds(sync.groups.expert_data[both], operation, collective,
                           count(sent_parameters(scenario_, held.experts, held.narrow_experts)));
  };
  double sum = plan.shards_gradients ? 0 : sums_at_end(rank, sync);
  if (plan.has_units()) sum += ends_beside_nothing();
  sum += sum_of_embeddings(sync);
  const HolderCounts owners =
      plan.updater == Updater::owner ? sharers_of(holders(sync), plan) : HolderCounts{};
  sum +=
      each.seconds(updated_part(rank.held, owners, {})) + static_cast<double>(rank.held.total()) * each.held;
  const bool comes_back =
      plan.updater == Updater::server || (plan.updater == Updater::owner && !plan.gathers_in_passes());
  if (comes_back || plan.keeps == Keeps::step) {
    sum += gathered(plan.updater == Updater::server ? Operation::broadcast : Operation::all_gather);
  }
  return plan.gathers_beside ? sum + gathered_beside() : sum;
}

/// Parameters that come back beside first passes: what takes longer than the passes of a microbatch, and that
/// of the embedding at least, before which nothing runs.
double PipelineEstimate::gathered_beside() const {
  double longest = cost_.embedding.gathered;
  for (const Rank& rank : ranks_)
    longest = std::max(longest, (rank.gathered - rank.passes.forward) * static_cast<double>(profile_.chunks));
  return longest;
}

/// Of the gradients of the embedding's two copies, or of a rank's shard of them.
double PipelineEstimate::sum_of_embeddings(const SyncPlan& sync) const {
  const auto& [plan, groups, each] = sync;
  TrafficTimes& traffic = tables_.traffic();
  if (embedding_copy_ == 0) return 0;
  const std::size_t both = profile_.is_bidirectional ? 1 : 0;
  const std::int64_t replicas = plan.shards_over(traffic.group_size(groups.data[both]));
  const std::int64_t elements = plan.shards_gradients ? shard_of(embedding_copy_, replicas) : embedding_copy_;
  const Collectives& all = scenario_.collectives;
  const Collective& collective = plan.updater == Updater::server ? *all.servers : *all.gradients;
  return traffic.seconds(groups.ends, Operation::all_reduce, collective,
                         count(size_of(scenario_.precision.gradient) * elements));
}

/// As memory_of_ranks() counts it.
double PipelineEstimate::memory(const Rank& rank, const GradientPlan& plan,
                                const HolderCounts& holders) const {
  const UpdateBytes update = update_bytes(rank.held, holders, plan, scenario_);
  const double gradients = count(update.gradients), working = count(update.working);
  const double computed = scenario_.software->holds_as_computed()
                              ? std::max(rank.activations, gradients + working)
                              : std::max(rank.activations, working) + gradients;
  return computed + static_cast<double>(copied_layers) * (rank.offloaded[0] + rank.offloaded[1]) +
         rank.placeholders + cost_.exchange_buffer + cost_.context_buffer + cost_.send_buffer +
         count(update.total() - update.gradients);
}

HolderCounts PipelineEstimate::holders(const SyncPlan& sync) const {
  const std::size_t both = profile_.is_bidirectional ? 1 : 0;
  TrafficTimes& traffic = tables_.traffic();
  return {traffic.group_size(sync.groups.data[both]), traffic.group_size(sync.groups.expert_data[both])};
}

double PipelineEstimate::memory(const SyncPlan& sync, double limit) {
  const double least = counted_memory(sync);
  if (least > limit) return least;
  count_rises();
  return counted_memory(sync);
}

double PipelineEstimate::counted_memory(const SyncPlan& sync) const {
  const HolderCounts of = holders(sync);
  double most = 0;
  for (const Rank& rank : ranks_) most = std::max(most, memory(rank, sync.plan, of));
  const std::size_t both = profile_.is_bidirectional ? 1 : 0;
  const std::size_t on_every_rank = sync.plan.updater == Updater::every_rank ? 1 : 0;
  return most + sync.groups.outside[both][on_every_rank][embedding_copy_ > 0 ? 1 : 0];
}

}  // namespace moesim
