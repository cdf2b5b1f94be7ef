// The part of moesim calibrate that is about several GPUs: from measured collectives to what scenarios read.
#pragma once

#include <string>

#include "models/config/value.hpp"

namespace moesim {

/// Whether the first device of a measurements file has times of collectives.
bool has_collectives(const Value& measurements);

/// Curves of the collectives of a measurements file. `cluster` is a file of the cluster that was measured
/// (empty: one of configs/clusters whose devices are of that name). Throws InputError where there is none.
struct CollectivesFile {
  std::string text;   ///< of the file
  std::string table;  ///< for people
};
CollectivesFile collectives_file(const Value& measurements, const std::string& cluster);

}  // namespace moesim
