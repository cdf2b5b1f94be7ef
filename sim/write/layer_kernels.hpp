// The kernels of layers as JSON and as rows.
#pragma once

#include "sim/write/layer_passes.hpp"

namespace moesim {

/// An op of an act: op, module, what its kernels take together, kept_bytes, kernels: [{name, class, m, n, k
/// of a product, elements of what is none, time_s, gap_s, flops, moved_bytes, launches, waits}].
Value op_value(const PricedOp& op);

/// A row for each kernel under its form, pass, act and op.
Table kernel_table(const LayerListing& listing);

/// "embedding", "experts", "dense", "head".
std::string_view form_of(const LayerPasses& of);

}  // namespace moesim
