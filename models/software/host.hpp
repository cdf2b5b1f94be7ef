// What the host takes to issue kernels, read from the keys of a software.
#pragma once

#include "models/config/reader.hpp"
#include "models/software/software.hpp"

namespace moesim {

/// Reads the keys "host_..." and "cuda_graphs" of a software; without them it takes what is usual.
HostTimes read_host(Reader& reader, const HostTimes& usual);

}  // namespace moesim
