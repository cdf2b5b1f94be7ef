// The rules that sizes keep, as values: reading makes an error of a misfit, a search leaves out the plan.
#pragma once

#include <cstdint>

#include "models/config/misfit.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Pipeline x tensor x context divide the devices.
Fit divides_devices(std::int64_t devices, const Sizes& sizes);
/// Expert x expert_tensor divide the devices of a pipeline rank.
Fit divides_stage(const Sizes& sizes);
/// Tensor parallelism divides the attention heads of each layer.
Fit divides_heads(const Model& model, const Sizes& sizes);
/// Expert tensor parallelism divides the columns of an expert.
Fit divides_columns(const Model& model, const Sizes& sizes);
/// Only a model with experts spreads them.
Fit has_experts_to_spread(const Model& model, const Sizes& sizes);
/// Each rank of an expert group has as many slots, of experts and of `redundant` copies together.
Fit divides_slots(const Model& model, std::int64_t redundant, const Sizes& sizes);
/// Data-parallel ranks and microbatches divide the sequences.
Fit divides_sequences(const Batch& batch, const Sizes& sizes);
/// The ranks that share a sequence divide its tokens; targets of another length are not divided at all.
Fit divides_tokens_of(const Batch& batch, const Sizes& sizes);
/// The groups of attention and those of experts lie on the same devices as far as they must.
Fit fits_groups(const Scenario& scenario, const Layout& layout);

/// Tokens of a microbatch: times the widest model they still fit 63 bits of bytes.
Fit limits_tokens(const Batch& batch);
/// Microbatches of a data-parallel rank, as many as a pipeline without a model may have.
Fit limits_microbatches(const Batch& batch, const Sizes& sizes);
/// A graph that memory holds: `ranks` simulated ones, each with passes of about ten tasks a layer and
/// `others`.
Fit limits_tasks(double ranks, std::int64_t microbatches, const Model& model, double others = 0);

}  // namespace moesim
