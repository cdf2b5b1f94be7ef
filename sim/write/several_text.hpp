// What several runs of a scenario, or the many steps of one, come to, for people.
#pragma once

#include <string>

#include "sim/report/report.hpp"

namespace moesim {

/// Percentiles over seeds and over steps; empty of a single step.
std::string several_text(const Report& report);

}  // namespace moesim
