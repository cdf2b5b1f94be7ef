// Reads the part "drift" of "routing": a run of many steps over which loads move.
#pragma once

#include "models/config/misfit.hpp"
#include "models/config/reader.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

DriftRun read_drift(Reader reader);
Rebalance read_rebalance(Reader reader);

/// What drifts must be there, count, and not be said twice.
Fit fits_drift(const Scenario& scenario);

}  // namespace moesim
