// The part "faults".
#pragma once

#include <cstdint>
#include <vector>

#include "models/cluster/fabric.hpp"
#include "models/config/reader.hpp"
#include "sim/scenario/faults.hpp"

namespace moesim {

/// One entry of each kind. Throws InputError.
Straggler read_straggler(Reader& reader, std::int64_t devices);
LinkFault read_link_fault(Reader& reader, const Fabric& fabric);
Jitter read_jitter(Reader& reader);
Failures read_failures(Reader& reader, std::int64_t devices);

/// Reads the part "faults". `fabric` is null in a pipeline without a model, where links are unknown. Throws
/// InputError.
Faults read_faults(Reader reader, std::int64_t devices, const Fabric* fabric);

/// The same of a communication by itself, which only links can disturb.
Faults read_link_faults(Reader reader, const Fabric& fabric);

/// Degrades links and takes them down.
void apply_faults(const std::vector<LinkFault>& faults, Fabric& fabric);

}  // namespace moesim
