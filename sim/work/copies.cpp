#include "sim/work/copies.hpp"

#include <utility>

#include "sim/scenario/layers.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/work/tensors.hpp"
#include "sim/work/update_bytes.hpp"

namespace moesim {
namespace {

constexpr double bf16_bytes = 2;

double bytes_of(Precision precision) { return static_cast<double>(size_of(precision).count); }

Op copy(std::string_view name, const Copied& copied, double bytes_each, Module module) {
  Op op = make_streaming(OpKind::copy, name, OpPass::backward_weight, copied.elements, 1, bytes_each, module);
  op.kernels = copied.tensors;
  return op;
}

}  // namespace

Op gradient_sums(const Copied& added, const PrecisionPlan& precision) {
  return copy("sums of gradients", added, 3 * bytes_of(precision.gradient), Module::gradient_sums);
}

Op bucket_in(const Copied& copied, const PrecisionPlan& precision) {
  return copy("gradients to a bucket", copied, 2 * bytes_of(precision.gradient), Module::bucket_in);
}

Op bucket_out(const Copied& copied, const PrecisionPlan& precision) {
  return copy("sums from a bucket", copied, 2 * bytes_of(precision.gradient), Module::bucket_out);
}

/// The cast writes what the copy then reads.
Op shards_in(std::int64_t shard, const GradientPlan& plan) {
  const double cast = plan.shards == Precision::bf16 ? 0 : bytes_of(plan.shards) + bf16_bytes;
  return copy("shards to be gathered", {.elements = shard}, cast + 2 * bf16_bytes, Module::shards_in);
}

Op gathered_out(std::int64_t whole) {
  return copy("gathered parameters", {.elements = whole}, 2 * bf16_bytes, Module::gathered_out);
}

Op gradients_in(std::int64_t whole, const PrecisionPlan& precision) {
  return copy("gradients to be reduced", {.elements = whole}, bf16_bytes + bytes_of(precision.gradient),
              Module::gradients_in);
}

std::vector<Op> gradients_out(const Copied& shard, const GradientPlan& plan, const PrecisionPlan& precision,
                              bool adds) {
  std::vector<Op> ops;
  const double kept = bytes_of(plan.shards);
  if (plan.shards != precision.gradient) {
    ops.push_back(copy("sums to the precision of shards", {.elements = shard.elements},
                       bytes_of(precision.gradient) + kept, Module::gradients_out));
  }
  if (adds) ops.push_back(copy("sums of microbatches", shard, 3 * kept, Module::gradients_out));
  return ops;
}

namespace {

/// Adds up what other ranks have too, of which a device updates its shard.
class CopyList {
 public:
  explicit CopyList(const Scenario& scenario)
      : scenario_(scenario),
        plan_(scenario.gradient_sync),
        holders_(holders_of(scenario)),
        sharers_(sharers_of(holders_, plan_)) {}

  void add_block(Activity block, std::int64_t layer) {
    const BlockTensors tensors = block_tensors(scenario_, block, layer);
    const Holdings held = block_holdings(scenario_, block, layer);
    const auto add_up = [&](std::int64_t ranks, std::int64_t elements, std::int64_t count) {
      if (!adds_gradients(scenario_, ranks)) return;
      all_.elements += elements;
      all_.tensors += count;
    };
    add_up(holders_.replicated, held.replicated(), std::ssize(tensors.replicated));
    add_up(holders_.experts, held.experts(), std::ssize(tensors.experts));
    if (plan_.copies == SyncCopies::none) return;
    const HolderCounts& ranks = plan_.has_units() ? sharers_ : holders_;
    if (ranks.replicated > 1) {
      whole_.elements += held.replicated();
      whole_.tensors += std::ssize(tensors.replicated);
      shard_ += shard_of(held.replicated(), ranks.replicated);
    }
    if (ranks.experts > 1) {
      whole_.elements += held.experts();
      whole_.tensors += std::ssize(tensors.experts);
      shard_ += shard_of(held.experts(), ranks.experts);
    }
  }

  /// Of the blocks so far.
  void end_unit() {
    const Copied whole = std::exchange(whole_, {.tensors = 0});
    const std::int64_t shard = std::exchange(shard_, 0);
    if (whole.elements == 0) return;
    plan_.has_units() ? add_unit(whole, shard) : add_buckets(whole);
  }

  /// Sums are those of a rank whose stages all have every microbatch.
  std::vector<RepeatedCopy> take() {
    if (all_.elements > 0)
      copies_.push_back({gradient_sums(all_, scenario_.precision), scenario_.microbatches() - 1});
    return std::move(copies_);
  }

 private:
  void add_buckets(const Copied& whole) {
    copies_.push_back({bucket_in(whole, scenario_.precision), 1});
    if (plan_.copies == SyncCopies::buckets) copies_.push_back({bucket_out(whole, scenario_.precision), 1});
  }

  void add_unit(const Copied& whole, std::int64_t shard) {
    const std::int64_t passes = scenario_.microbatches();
    const std::int64_t gathered = plan_.keeps == Keeps::pass         ? 2 * passes
                                  : plan_.keeps == Keeps::microbatch ? passes
                                                                     : 1;
    const std::int64_t reduced = plan_.shards_gradients ? passes : 1;
    copies_.push_back({shards_in(shard, plan_), gathered});
    copies_.push_back({gathered_out(whole.elements), gathered});
    copies_.push_back({gradients_in(whole.elements, scenario_.precision), reduced});
    for (const bool adds : {false, true}) {
      for (const Op& op : gradients_out({shard, whole.tensors}, plan_, scenario_.precision, adds))
        copies_.push_back({op, adds ? reduced - 1 : 1});
    }
  }

  const Scenario& scenario_;
  const GradientPlan& plan_;
  HolderCounts holders_, sharers_;
  Copied whole_{.tensors = 0}, all_{.tensors = 0};
  std::int64_t shard_ = 0;
  std::vector<RepeatedCopy> copies_;
};

}  // namespace

bool adds_gradients(const Scenario& scenario, std::int64_t ranks) {
  return scenario.habits().adds_gradients && scenario.microbatches() > 1 &&
         (!scenario.gradient_sync.shards_gradients || ranks == 1);
}

std::vector<RepeatedCopy> copies_of_step(const Scenario& scenario, std::int64_t pipeline_rank) {
  if (scenario.gradient_sync.copies == SyncCopies::none && !scenario.habits().adds_gradients) return {};
  CopyList list(scenario);
  for (const HeldStage& stage : stages_of(scenario.chains, pipeline_rank)) {
    for (const std::int64_t layer : layers_of(scenario, stage.stage)) {
      list.add_block(Activity::feed_forward, layer);
      list.add_block(Activity::attention, layer);
      list.end_unit();
    }
    if (stage.is_first) list.add_block(Activity::embedding, -1);
    if (stage.is_last) list.add_block(Activity::head, -1);
    list.end_unit();
  }
  return list.take();
}

}  // namespace moesim
