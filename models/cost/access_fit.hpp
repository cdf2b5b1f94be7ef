// How a device runs the kernels of common software: laws of models/transformer/access_laws.hpp with numbers
// fitted to what such kernels take on it, by size.
#pragma once

#include <string>
#include <vector>

#include "models/cost/calibration.hpp"

namespace moesim {

/// What the kernels of an op take, without the gaps before them.
double kernel_seconds(const Op& op, const Cost& cost, const Device& device);

/// The fit that stands in for `assumed`: of its name, and of the numbers that the code has for it. A law that
/// a user gives under the same name is his own. Null where there is none.
const AccessFit* fit_of(const Access& assumed, const std::vector<AccessFit>& fits);
/// The op by that law.
Op by_law(Op op, const AccessFit& fit);
/// Whether the op is more than two doublings away from all that the law was fitted to.
bool is_far(const Op& op, const AccessFit& fit);

/// A law for each access that has lines enough, in the order of the code.
std::vector<AccessFit> fit_accesses(const Cost& cost, const Device& device,
                                    const std::vector<Measured>& measured);

/// Logarithms of predicted over measured times of an access, of the sizes that judge or of the others; by the
/// numbers of the code where there is no fit.
std::vector<double> off_by(const Access& assumed, const AccessFit* fit, bool held_out, const Cost& cost,
                           const Device& device, const std::vector<Measured>& measured);

AccessFit read_access_fit(Reader& reader, const Device& device);
/// As an object of JSON.
std::string write_access_fit(const AccessFit& fit, const Device& device);

}  // namespace moesim
