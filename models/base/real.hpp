// A count as a number for arithmetic.
#pragma once

#include <cstdint>

namespace moesim {

constexpr double real(std::int64_t count) { return static_cast<double>(count); }

}  // namespace moesim
