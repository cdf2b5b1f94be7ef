// Whole blocks that were measured beside a calibration (`moesim-measure --check`), and the ops that they are
// made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/config/reader.hpp"
#include "models/cost/calibration.hpp"

namespace moesim {

/// One block in one pass.
struct MeasuredBlock {
  std::string block, pass;
  std::int64_t tokens = 0;
  double seconds = 0;
  bool in_loop = false;  ///< the device did not rest meanwhile
  std::vector<Op> ops;
};

/// The blocks of all devices of a measurements file. Throws InputError for a file that is none, or of another
/// device than the calibration's.
std::vector<MeasuredBlock> read_blocks(Reader& measurements, const Calibration& calibration);

/// What the ops of a block add up to: at the full clock, or of a loop at that to which it settles.
struct PredictedBlock {
  double seconds = 0;
  double clock = 1;
};
PredictedBlock predict(const MeasuredBlock& block, const Cost& cost, const Device& device);

}  // namespace moesim
