// What error bars are made of, and how much of what was measured lies inside of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "models/config/value.hpp"
#include "sim/run/figures.hpp"
#include "sim/scenario/certainty.hpp"
#include "sim/write/validation.hpp"

namespace moesim {

/// The name of a family of errors.
struct FamilyName {
  std::string of, where;
  friend bool operator==(const FamilyName&, const FamilyName&) = default;
};

/// What a measured figure of a run is a residual of; nothing where it is no time.
std::optional<FamilyName> family_of(const Figure& figure, const Simulation& run);

/// The deviation of the logarithm of the figure that is to be expected; nothing where none is known.
std::optional<double> expected_deviation(const Figure& figure, const Simulation& run,
                                         const Certainty& certainty);

/// A calibration, and whole blocks measured beside it.
struct CalibrationFiles {
  std::string calibration, blocks;
};

/// Adds what they tell: kernels by themselves against the device file, and kernels in a row against the
/// calibration.
void add_families(const CalibrationFiles& files, std::vector<ErrorFamily>& families);

/// How many of the grid's shapes, each left out in turn, and of the blocks lie inside their bars; of blocks
/// those that the others make.
std::vector<Coverage> coverage_of(const CalibrationFiles& files);

/// A file of residuals (sim/read/certainty.hpp).
Value document_of(const std::vector<ErrorFamily>& families);

}  // namespace moesim
