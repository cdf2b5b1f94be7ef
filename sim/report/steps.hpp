// The steps that a token goes through in MoE training, with the time and the bytes of each.
#pragma once

#include "sim/report/report.hpp"

namespace moesim {

/// Attention, router, dispatch, experts, combine, loss, backward by its parts, gradients by theirs, then
/// every other communication. Compute that stands in one task is divided as its ops divide it when they run
/// alone. `report` has its phases already. Empty for a model without experts.
std::vector<StepReport> steps_of(const Work& work, const TaskGraph& graph, const Timeline& timeline,
                                 const Report& report);

}  // namespace moesim
