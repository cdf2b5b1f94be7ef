// Devices of configs/devices, for tests.
#pragma once

#include <string>
#include <vector>

#include "models/cluster/device.hpp"
#include "models/config/document.hpp"

namespace moesim::testing {

/// The file of a device; "h200.json" and the like.
inline Value device_file(const std::string& file, const std::vector<Override>& overrides = {}) {
  return load_document(MOESIM_SOURCE "/configs/devices/" + file, overrides);
}

inline Device device(const std::string& file, const std::vector<Override>& overrides = {}) {
  const Value document = device_file(file, overrides);
  Reader reader(document, "");
  return read_device(reader);
}

}  // namespace moesim::testing
