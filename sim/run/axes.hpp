// What a sweep varies: keys of a scenario with lists or ranges of values, zipped or multiplied.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/config/document.hpp"
#include "sim/run/compare.hpp"

namespace moesim {

/// Keys whose values change together: the n-th value of each makes the n-th choice.
using ZippedKeys = std::vector<VariedKey>;

/// A key of `--over`, as `batch.microbatch=1,2,4`, `=8..64 x2` or `=0.5..2 step 0.25`. Throws InputError.
VariedKey parse_swept_key(std::string_view argument);

/// The axes of a scenario's "sweep": an object multiplies its keys; a list holds objects whose keys are
/// zipped, and multiplies these. Nothing where there is no "sweep". Throws InputError.
std::vector<ZippedKeys> read_axes(const Value& document);

/// The keys of all axes, in order. Throws InputError where one is given twice.
std::vector<std::string> keys_of(const std::vector<ZippedKeys>& axes);

/// One value for each key, for every point; the last axis changes fastest. Throws InputError where zipped
/// keys have unlike numbers of values, or where there are over ten million points.
std::vector<std::vector<Value>> points_of(const std::vector<ZippedKeys>& axes);

}  // namespace moesim
