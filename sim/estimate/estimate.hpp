// The first tier of a search: step time and memory of a plan as arithmetic on tables.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "sim/estimate/costs.hpp"
#include "sim/estimate/pipeline.hpp"
#include "sim/work/update.hpp"

namespace moesim {

/// What a plan is thought to come to.
struct Estimate {
  double seconds = 0;
  double memory = 0;  ///< bytes of the device that holds most; never more than `run` counts
};

/// Seconds of copies around what is sent (sim/work/copies.hpp), for each element of what they copy.
struct CopySeconds {
  double sums = 0;  ///< of gradients of a microbatch
  double bucket_in = 0, bucket_out = 0, gathered_out = 0, gradients_in = 0;
  std::array<double, 2> shards_in{};      ///< of shards in bf16, in fp32
  std::array<double, 2> gradients_out{};  ///< the same
};
CopySeconds copy_seconds(const Scenario& scenario);

/// Seconds for each parameter that a device updates, and for each tensor that it holds: of matrices of
/// layers, and the rest.
struct UpdateRate {
  double matrices = 0, rest = 0;
  double of_matrix = 0, of_other = 0;  ///< launches by tensor, however few of its elements are updated here
  double seconds(const Updated& part) const;
};

/// Seconds of the update.
struct UpdateSeconds {
  double held = 0;          ///< for each gradient that a device has
  UpdateRate device, host;  ///< whoever takes longer
  CopySeconds copies{};
  double cast_updated = 0, cast_held = 0;  ///< of a weight that is held in a narrow format
  double seconds(const Updated& part) const {
    return std::max(device.seconds(part), host.seconds(part)) +
           static_cast<double>(part.narrow) * cast_updated +
           static_cast<double>(part.narrow_held) * cast_held;
  }
};

/// Of an update on the scenario's device.
UpdateSeconds update_seconds(const Scenario& scenario);

/// What each stage holds and costs. The head is PipelineEstimate's to add.
struct StageCosts {
  std::vector<StageContent> contents;
  std::vector<LayerCost> costs;
  std::vector<double> spans;  ///< by how much bytes rise in a backward that computes layers again together
};
/// Adds to a stage by how much copies to the host's memory and back hold up its passes.
void hold_up(const MicrobatchCost& cost, const std::vector<std::size_t>& kind_of_layer,
             const StageContent& content, LayerCost& stage);
StageCosts stage_costs(const MicrobatchCost& cost, const std::vector<std::size_t>& kind_of_layer,
                       const std::vector<std::int64_t>& layers_per_stage);

/// How ranks stay the same, and who takes part.
struct SyncPlan {
  const GradientPlan& plan;
  const DivisionGroups& groups;
  const UpdateSeconds& each;
};

/// All that a plan's estimate rests on but its way of synchronisation. What it is asked first is cheap; the
/// more is asked, the more is found out.
class PipelineEstimate {
 public:
  /// `cost` is what the tables were last asked for. Tables, cost and profile outlive the estimate.
  PipelineEstimate(CostTables& tables, const MicrobatchCost& cost, const PipelineProfile& profile,
                   StageCosts stages);

  /// Bytes of the device that holds most; never more than `run` counts. Where this is above
  /// `limit`, it is a lower bound: rises within passes are not counted.
  double memory(const SyncPlan& sync, double limit = std::numeric_limits<double>::infinity());
  /// Seconds that the step takes at least, without a look at how a forward and a backward share a rank.
  double least_seconds(const SyncPlan& sync);
  /// Seconds that the step takes.
  double seconds(const SyncPlan& sync);
  Estimate with(const SyncPlan& sync) { return {.seconds = seconds(sync), .memory = memory(sync)}; }

  /// Bytes that a pipeline rank keeps from forward to backward, at its worst moment.
  double activations(std::size_t rank) {
    count_rises();
    return ranks_[rank].activations;
  }

 private:
  struct Rank {
    PassSeconds passes;
    PassSeconds issue;  ///< of the host
    double units = 0;   ///< of the mean chunk, where layers and ends are units
    double gathered = 0, scattered = 0;
    HeldElements held;
    double activations = 0, placeholders = 0;
    std::array<double, 2> offloaded{};  ///< LayerCost::offloaded
  };

  double counted_memory(const SyncPlan& sync) const;
  void count_rises();
  void time_passes();
  void time_pairs();
  PassSeconds passes_of(std::size_t rank) const;
  double least_of_pairs(std::size_t rank) const;
  double seconds_of_pairs(std::size_t rank);
  PassSeconds synchronised(std::size_t rank, const SyncPlan& sync) const;
  PassSeconds with_units(const Rank& rank, Keeps keeps, double units, PassSeconds passes) const;
  double slowest(const SyncPlan& sync, PassSeconds& mean) const;
  double beyond_slowest(const PassSeconds& mean) const;
  double update(const SyncPlan& sync) const;
  /// What a step has beside its passes.
  double beside_passes(const SyncPlan& sync) const;
  double sums_at_end(const Rank& rank, const SyncPlan& sync) const;
  double ends_beside_nothing() const;
  HolderCounts holders(const SyncPlan& sync) const;
  double memory(const Rank& rank, const GradientPlan& plan, const HolderCounts& holders) const;
  double sum_of_embeddings(const SyncPlan& sync) const;
  double gathered_beside() const;

  CostTables& tables_;
  const Scenario& scenario_;
  const MicrobatchCost& cost_;
  const PipelineProfile& profile_;
  StageCosts stages_;
  std::int64_t embedding_copy_ = 0;  ///< elements, where the last rank has one
  bool rises_counted_ = false, has_pairs_ = false, passes_timed_ = false, pairs_timed_ = false;
  std::vector<Rank> ranks_;
};

}  // namespace moesim
