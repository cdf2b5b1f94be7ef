// The parts of a scenario against each other. Each throws InputError, which says what does not fit what.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/read/parts.hpp"

namespace moesim {

/// Microbatches of a step, as many as a pipeline without a model may have.
inline constexpr std::int64_t most_microbatches = 1'000'000;
/// Of a microbatch: times the widest model they still fit 63 bits of bytes.
inline constexpr std::int64_t most_tokens = 1'000'000'000;

/// Every size against every other, each with the numbers that clash. Sets the layout that they come to.
void fit_sizes(const Reader& reader, Scenario& scenario, Parallelism parallelism);
/// Layers of each stage as given, or as many on each where nothing is. Sets them.
void fit_layers(const Reader& reader, Scenario& scenario, std::vector<std::int64_t> given);
/// What the router asks of each layer's gate.
void fit_group_routing(const Reader& reader, const Scenario& scenario);
/// Copies and spread against what they stand beside.
void fit_experts(const Reader& reader, const Scenario& scenario);
/// What is computed again must be there to be computed.
void fit_recompute(const Reader& reader, const Scenario& scenario);
/// Rows of experts that 64 bits hold with room to add them up.
void fit_rows(const Reader& reader, const Scenario& scenario);
/// A graph that memory holds.
void fit_tasks(const Reader& reader, const Scenario& scenario);

}  // namespace moesim
