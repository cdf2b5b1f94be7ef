// What a device copies around gradients and parameters on their way (SyncCopies), as ops.
#pragma once

#include <cstdint>
#include <vector>

#include "models/transformer/op.hpp"
#include "sim/gradient/gradient_sync.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Elements of a bucket or a unit, in so many tensors.
struct Copied {
  std::int64_t elements = 0, tensors = 1;
};

/// Gradients of a microbatch added to those of the microbatches before.
Op gradient_sums(const Copied& added, const PrecisionPlan& precision);

/// Gradients into a bucket, divided by the ranks, and their sums back.
Op bucket_in(const Copied& copied, const PrecisionPlan& precision);
Op bucket_out(const Copied& copied, const PrecisionPlan& precision);

/// Of a unit: shards on their way out, gathered parameters, gradients on their way out, and what comes of
/// their sums: elements of this device's shards where they are cast, or added to sums of microbatches before.
Op shards_in(std::int64_t shard, const GradientPlan& plan);
Op gathered_out(std::int64_t whole);
Op gradients_in(std::int64_t whole, const PrecisionPlan& precision);
std::vector<Op> gradients_out(const Copied& shard, const GradientPlan& plan, const PrecisionPlan& precision,
                              bool adds);

/// Whether gradients of later microbatches that so many ranks share are added to those before by kernels of
/// their own, whole: those that are sharded after each microbatch are added up as shards.
bool adds_gradients(const Scenario& scenario, std::int64_t ranks);

/// A copy that a device makes so many times.
struct RepeatedCopy {
  Op op;
  std::int64_t times = 1;
};
/// All copies of a device of a pipeline rank in a step, and sums of gradients.
std::vector<RepeatedCopy> copies_of_step(const Scenario& scenario, std::int64_t pipeline_rank);

}  // namespace moesim
