// What one device of a pipeline rank holds from step to step.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Parameters on one device, in elements.
struct Holdings {
  std::int64_t replicated = 0;  ///< also held by every data-parallel rank
  std::int64_t experts = 0;     ///< also held by the expert-data-parallel ranks
};

/// Parameters that one device of a pipeline rank holds, over all its chunks.
Holdings holdings(const Scenario& scenario, std::int64_t pipeline_rank);

/// Gradients of one expert of one layer, summed over the ranks of an expert group that hold its copies.
struct CopySum {
  std::vector<std::int64_t> ranks;
  Bytes gradients;
};
/// The sums that the ranks of an expert group owe each other after the last pass, for all stages of a
/// pipeline rank. Copies on one and the same rank need none.
std::vector<CopySum> copy_sums(const Scenario& scenario, std::int64_t pipeline_rank);

/// Bytes that Adam (Kingma and Ba, arXiv 1412.6980) moves for one parameter: the gradient, the fp32 master
/// and both moments read, master and moments written, the bf16 parameter written.
double optimizer_bytes_moved(const PrecisionPlan& precision);

}  // namespace moesim
