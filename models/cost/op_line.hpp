// An op as one object of keys: a line of measurements, a question to `moesim cost`.
#pragma once

#include <vector>

#include "models/config/reader.hpp"
#include "models/transformer/op.hpp"

namespace moesim {

/// Reads "op" and the keys of its kind; "pass" is forward where it is not given. `backward` of a product is
/// its two passes, so that the answer may be two ops. Leaves other keys to the caller, and finish() too.
std::vector<Op> read_ops(Reader& reader);

}  // namespace moesim
