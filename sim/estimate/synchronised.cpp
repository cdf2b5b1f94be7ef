// What synchronising costs a step: what is sent beside passes or after them, and what is copied for it.
#include <algorithm>

#include "models/base/at.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/work/copies.hpp"

namespace moesim {
namespace {

double count(Bytes bytes) { return static_cast<double>(bytes.count); }

constexpr std::int64_t many = 1'000'000'000;  // elements of a long stream

/// Seconds for each of so many elements.
double of_each(const std::vector<Op>& ops, const Scenario& scenario) {
  return to_seconds(time_of(ops, scenario).time) / static_cast<double>(many);
}

}  // namespace

CopySeconds copy_seconds(const Scenario& scenario) {
  const PrecisionPlan& precision = scenario.precision;
  const Copied copied{.elements = many};
  CopySeconds seconds{.sums = of_each({gradient_sums(copied, precision)}, scenario),
                      .bucket_in = of_each({bucket_in(copied, precision)}, scenario),
                      .bucket_out = of_each({bucket_out(copied, precision)}, scenario),
                      .gathered_out = of_each({gathered_out(many)}, scenario),
                      .gradients_in = of_each({gradients_in(many, precision)}, scenario)};
  for (const Precision shards : {Precision::bf16, Precision::fp32}) {
    const GradientPlan plan{.shards = shards};
    const std::size_t kind = shards == Precision::fp32 ? 1 : 0;
    seconds.shards_in[kind] = of_each({shards_in(many, plan)}, scenario);
    seconds.gradients_out[kind] = of_each(gradients_out(copied, plan, precision, false), scenario);
  }
  return seconds;
}

namespace {

/// What a pass sends, and what it copies for that.
struct Sent {
  double sent = 0, copied = 0;
  Sent operator+(const Sent& more) const { return {sent + more.sent, copied + more.copied}; }
};

/// Passes that gather parameters and reduce gradients: before and after what they compute, or beside it,
/// which then takes as long as the longer of the two.
PassSeconds with_sent(PassSeconds passes, const Sent& forward, const Sent& backward, const Sent& reduced,
                      bool is_beside) {
  const auto with = [&](double seconds, const Sent& more) {
    const double computed = seconds + more.copied;
    return is_beside ? std::max(computed, more.sent) : computed + more.sent;
  };
  const double apart = passes.backward_input + passes.backward_weight;
  passes.forward = with(passes.forward, forward);
  passes.backward = with(passes.backward, backward + reduced);
  passes.overlapped = with(passes.overlapped, forward + backward + reduced);
  passes.backward_input = with(passes.backward_input, backward);
  passes.backward_weight = with(apart, backward + reduced) - passes.backward_input;
  return passes;
}

/// Elements that a rank has in common with others, and its shards of them.
struct SharedElements {
  double whole = 0, shard = 0;
};

SharedElements shared_elements(const HeldElements& held, const HolderCounts& sharers) {
  SharedElements shared;
  const auto add = [&](std::int64_t elements, std::int64_t ranks) {
    if (ranks == 1) return;
    shared.whole += static_cast<double>(elements);
    shared.shard += static_cast<double>(shard_of(elements, ranks));
  };
  add(held.replicated, sharers.replicated);
  add(held.experts, sharers.experts);
  return shared;
}

}  // namespace

/// The passes of the mean chunk of a rank.
PassSeconds PipelineEstimate::synchronised(std::size_t number, const SyncPlan& sync) const {
  const Rank& rank = ranks_[number];
  const GradientPlan& plan = sync.plan;
  Sent gathered, reduced;
  double units = 0;
  if (plan.shards_parameters) gathered.sent = rank.gathered;
  if (plan.shards_gradients) reduced.sent = rank.scattered;
  if (plan.has_units()) {
    const SharedElements shared = shared_elements(rank.held, sharers_of(holders(sync), plan));
    if (shared.whole > 0) units = to_seconds(scenario_.habits().host.unit) * rank.units;
    const CopySeconds& each = sync.each.copies;
    const auto chunks = static_cast<double>(profile_.chunks);
    const std::size_t kind = plan.shards == Precision::fp32 ? 1 : 0;
    gathered.copied = (shared.shard * each.shards_in[kind] + shared.whole * each.gathered_out) / chunks;
    if (plan.shards_gradients)
      reduced.copied = (shared.whole * each.gradients_in + shared.shard * each.gradients_out[kind]) / chunks;
  }
  if (scenario_.habits().adds_gradients) {
    const PassCounts& work = profile_.work[number];
    const double passes = work.backward + work.backward_weight + work.overlapped;
    const HolderCounts ranks = holders(sync);
    const bool shards = plan.shards_gradients;
    const std::int64_t added = (shards && ranks.replicated > 1 ? 0 : rank.held.replicated) +
                               (shards && ranks.experts > 1 ? 0 : rank.held.experts);
    const double sums = static_cast<double>(added) * sync.each.copies.sums;
    const auto chunks = static_cast<double>(profile_.chunks);
    reduced.copied += sums / chunks * std::max(0.0, 1 - chunks / std::max(1.0, passes));
  }
  const Sent none;
  return with_units(rank, plan.keeps, units,
                    with_sent(rank.passes, plan.keeps == Keeps::step ? none : gathered,
                              plan.keeps == Keeps::pass ? gathered : none, reduced, plan.overlap));
}

/// The host has each unit that a pass gathers to see to, so many seconds in all, beside what it launches.
PassSeconds PipelineEstimate::with_units(const Rank& rank, Keeps keeps, double units,
                                         PassSeconds passes) const {
  if (units == 0) return passes;
  const double forward = rank.issue.forward + (keeps == Keeps::step ? 0 : units);
  const double of_backward = keeps == Keeps::pass ? units : 0;
  passes.forward = std::max(passes.forward, forward);
  passes.backward = std::max(passes.backward, rank.issue.backward + of_backward);
  passes.backward_input = std::max(passes.backward_input, rank.issue.backward_input + of_backward);
  passes.overlapped = std::max(passes.overlapped, forward + rank.issue.backward + of_backward);
  return passes;
}

/// Of gradients that are summed once a step. The last microbatch hides what goes beside compute, but for what
/// it produces last.
double PipelineEstimate::sums_at_end(const Rank& rank, const SyncPlan& sync) const {
  const GradientPlan& plan = sync.plan;
  TrafficTimes& traffic = tables_.traffic();
  const std::size_t both = profile_.is_bidirectional ? 1 : 0;
  const auto seconds = [&](GroupSet groups, std::int64_t elements) {
    return traffic.seconds(groups, gradient_operation(plan.updater), *scenario_.collectives.gradients,
                           count(size_of(scenario_.precision.gradient) * elements));
  };
  const double sum = seconds(sync.groups.data[both], rank.held.replicated) +
                     seconds(sync.groups.expert_data[both], rank.held.experts);
  if (plan.copies == SyncCopies::none) return plan.overlap ? std::max(0.0, sum - rank.passes.backward) : sum;
  const CopySeconds& each = sync.each.copies;
  if (plan.has_units()) {
    const SharedElements shared = shared_elements(rank.held, sharers_of(holders(sync), plan));
    const std::size_t kind = plan.shards == Precision::fp32 ? 1 : 0;
    return shared.whole * each.gradients_in + shared.shard * each.gradients_out[kind] +
           std::max(0.0, sum - rank.passes.backward);
  }
  const double copied = shared_elements(rank.held, holders(sync)).whole;
  const double last = seconds(sync.groups.data[both], cost_.embedding.held.total());
  return copied * each.bucket_in + std::max(last, sum - rank.passes.backward) +
         (plan.copies == SyncCopies::buckets ? copied * each.bucket_out : 0);
}

/// The ends of the model are gathered before the first pass, and summed after the last.
double PipelineEstimate::ends_beside_nothing() const {
  const LayerCost& head = cost_.heads[profile_.is_head_apart ? 1 : 0];
  const double embedding = cost_.embedding.gathered + cost_.embedding.scattered;
  const double of_head = head.gathered + head.scattered;
  return profile_.is_head_apart ? std::max(embedding, of_head) : embedding + of_head;
}

}  // namespace moesim
