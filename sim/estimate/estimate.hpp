// The first tier of a search: step time and memory of a plan as arithmetic on tables.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/estimate/costs.hpp"
#include "sim/estimate/pipeline.hpp"

namespace moesim {

/// What a plan is thought to come to.
struct Estimate {
  double seconds = 0;
  double memory = 0;  ///< bytes of the device that holds most; never more than `run` counts
};

/// Seconds of the update for each gradient that a device has and for each parameter that it updates.
struct UpdateSeconds {
  double held = 0, updated = 0;
};

/// Layers of each stage, at least one, so that the slowest stage is as fast as can be and the others are
/// alike. There are no more stages than layers.
std::vector<std::int64_t> split_layers(const std::vector<double>& seconds_of_layer, double embedding,
                                       double head, std::int64_t stages);

/// Layers of each stage: as many on each, and on the last ones what is left. That is one at least, or with
/// `may_be_empty` none.
std::vector<std::int64_t> fill_layers(std::int64_t layers, std::int64_t stages, bool may_be_empty = false);

/// Of an update on the scenario's device.
UpdateSeconds update_seconds(const Scenario& scenario);

/// Embedding and layers of each stage, summed; the head is PipelineEstimate's to add.
std::vector<LayerCost> stage_costs(const MicrobatchCost& cost, const std::vector<std::size_t>& shape_of_layer,
                                   const std::vector<std::int64_t>& layers_per_stage);

/// A forward beside a full backward of as many layers, all alike: compute and communication in the order in
/// which PassLowering issues them, each slower while the other runs. `pair` is the sum over the layers,
/// `beside` the share of attention that runs while keys and values come.
double overlapped_seconds(const LayerCost& pair, double layers, double slowed_by_compute, double beside);

/// All that a plan's estimate rests on but its way of synchronisation.
class PipelineEstimate {
 public:
  PipelineEstimate(const SearchTables& tables, const MicrobatchCost& cost, const PipelineProfile& profile,
                   std::vector<LayerCost> stages);
  /// With that way of synchronisation. `traffic` is asked for gradients and parameters.
  Estimate with(const GradientPlan& plan, const DivisionGroups& groups, TrafficTimes& traffic,
                const UpdateSeconds& each) const;

 private:
  struct Rank {
    PassSeconds passes;  ///< of its mean chunk
    double gathered = 0, scattered = 0;
    double activations = 0, replicated = 0, experts = 0, largest = 0, placeholders = 0;
  };

  double makespan(const GradientPlan& plan) const;
  double update(const GradientPlan& plan, const DivisionGroups& groups, TrafficTimes& traffic,
                const UpdateSeconds& each) const;
  double memory(const Rank& rank, const GradientPlan& plan, double replicas, double expert_replicas) const;
  double sum_of_embeddings(const GradientPlan& plan, const DivisionGroups& groups,
                           TrafficTimes& traffic) const;

  const Scenario& scenario_;
  const PipelineProfile& profile_;
  double buffers_ = 0, send_ = 0;
  double embedding_copy_ = 0;  ///< elements, where the last rank has one
  std::vector<Rank> ranks_;
};

}  // namespace moesim
