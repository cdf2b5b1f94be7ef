// The parts of a scenario against each other, as rules of reading alone; sim/read/rules.hpp has those that a
// search keeps too.
#pragma once

#include <cstdint>
#include <vector>

#include "models/config/misfit.hpp"
#include "sim/read/parts.hpp"

namespace moesim {

/// Every size against every other, each with the numbers that clash. Sets the layout that they come to.
/// Throws InputError.
void fit_sizes(const Reader& reader, Scenario& scenario, Parallelism parallelism);

/// Targets of their own belong to an encoder-decoder whose layers all are on each rank, sequence by sequence.
Fit fits_targets(const Scenario& scenario);
/// Layers of each stage as given, or as many on each where nothing is.
Fit fits_layers(const std::vector<std::int64_t>& given, std::int64_t layers, std::int64_t stages);
/// The layers of each stage: equal ones where none are given; entries for fewer stages are cut as evenly as
/// it goes, those for more are taken together, all in the order of the forward pass.
std::vector<std::int64_t> layers_of_stages(const std::vector<std::int64_t>& given, std::int64_t layers,
                                           std::int64_t stages);
/// What the router asks of each layer's gate.
Fit fits_gates(const Scenario& scenario);
/// Copies and spread against what they stand beside.
Fit fits_experts(const Scenario& scenario);
/// What is sharded must not tie the directions of a schedule to each other.
Fit fits_gradient_sync(const Scenario& scenario);
/// Communication leaves multiprocessors to compute on.
Fit fits_multiprocessors(const Scenario& scenario);
Fit fits_tensor_overlap(const Scenario& scenario);
/// The schedule serves so many pipeline ranks and microbatches.
Fit fits_schedule(const Scenario& scenario);
/// Software runs on what it was written for, and models that it has.
Fit fits_software(const Scenario& scenario);
/// Passes of their own belong to one kernel on master weights.
Fit fits_update(const Scenario& scenario);
/// States only go to a host over a link whose rate is known.
Fit fits_offload(const Scenario& scenario);
/// Only software with dropout drops.
Fit fits_dropout(const Scenario& scenario);
/// Energy is only counted of devices whose power is known.
Fit fits_budget(const Scenario& scenario);
/// Devices with a clock need times that follow it.
Fit fits_clock(const Scenario& scenario);
/// Rows of experts that 64 bits hold with room to add them up.
Fit fits_rows(const Scenario& scenario);
/// A graph that memory holds.
Fit fits_tasks(const Scenario& scenario);

}  // namespace moesim
