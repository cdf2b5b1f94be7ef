// Gradients by the part of the model that they belong to.
#pragma once

#include "sim/report/report.hpp"

namespace moesim {

/// Fills Report::gradient_parts. One communication sends gradients of several parts; each has the share of
/// its bytes and of its time that it has of what the pipeline rank holds.
void add_gradient_parts(const Scenario& scenario, const TaskGraph& graph, const Timeline& timeline,
                        Report& report);

}  // namespace moesim
