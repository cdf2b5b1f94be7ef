// What was run, in one line that every report, table and picture carries:
// "PP 16 x EP 64 x DP 128, dualpipe, microbatch 1, zero1, 2,048 x H800, moesim 0.3".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/scenario/layout.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// What a plan of training chooses.
struct PlanChoices {
  Sizes sizes;
  std::int64_t microbatch = 1;
  std::string schedule;                ///< "interleaved (chunks=2)"
  std::string precision;               ///< of matrix products; empty: bf16, which is usual
  std::string recompute;               ///< "norm+activation"; empty: nothing
  std::string offload{};               ///< "expert_fc1", of activations; empty: nothing
  std::string gradient_sync;           ///< "zero1"
  std::vector<std::string> placement;  ///< of all dimensions, innermost first
};

/// "PP 16 x EP 64 x DP 128, dualpipe, microbatch 1, zero1". Dimensions of one rank are left out, and a
/// placement that lays the others out as usual.
std::string print(const PlanChoices& choices);

/// The line of a scenario of any form, with cluster and program: a pipeline alone is "PP 8, zb_h1, 24
/// microbatches of given durations, moesim 0.3".
std::string plan_line(const Scenario& scenario);

/// The parts that all these lines have, in the order of the first: what runs that differ have in common.
std::string common_plan(const std::vector<std::string>& lines);

/// "megatron_core, 2,048 x H800, moesim 0.3".
std::string cluster_line(const Scenario& scenario);

}  // namespace moesim
