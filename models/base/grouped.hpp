// Whole numbers as people read them.
#pragma once

#include <string>

namespace moesim {

/// The nearest whole number with commas: 62,914,560.
std::string grouped(double number);

}  // namespace moesim
