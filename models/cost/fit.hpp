// From measurements to a calibration: the physical parameters first, then the surfaces over what they miss.
#pragma once

#include <functional>
#include <string>

#include "models/cost/calibration.hpp"

namespace moesim {

/// Fits the device that is number `index` of a measurements file. `base` is a device file of the same device:
/// data-sheet numbers are taken from it, the rest is where the fit starts. Throws InputError for a file that
/// is damaged or holds another device.
Calibration fit_calibration(Reader& measurements, std::size_t index, const Value& base);

/// Adds to a calibration how kernels of common software take on device number `index` of a measurements file:
/// laws of the same accesses are replaced. Throws InputError for a file that is damaged, holds another device
/// or other ops too.
Calibration add_accesses(Reader& measurements, std::size_t index, Calibration calibration);

/// The lines of device number `index`.
std::vector<Measured> measured_in(Reader& measurements, std::size_t index);

/// How many devices a measurements file holds.
std::size_t devices_in(Reader& measurements);
/// What the driver calls device number `index`.
std::string device_name_in(Reader& measurements, std::size_t index);

}  // namespace moesim
