// The partitioning layouts of the Switch Transformer paper as sizes of ours.
#pragma once

#include "sim/read/parts.hpp"

namespace moesim {

/// Sizes of the layout for `devices` devices of a pipeline rank: N of the paper. `parallelism.model` is its
/// m. Without experts there is nothing to divide for expert_tensor.
Sizes sizes_of_layout(const Parallelism& parallelism, std::int64_t devices, bool has_experts);

/// Replaces what the layout decides. Throws InputError where another size is given, or m does not fit.
void apply_layout(const Reader& reader, std::int64_t devices, bool has_experts, Parallelism& parallelism);

}  // namespace moesim
