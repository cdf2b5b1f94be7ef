// The largest of several values that are spread normally around a mean.
#pragma once

#include <cstdint>
#include <vector>

namespace moesim {

/// The value that a standard normal variable exceeds with that probability, at least 0: `share` is in (0,
/// 0.5], larger shares count as 0.5.
double normal_exceeded_by(double share);

/// The expected largest of `count` values over their mean, with standard deviation `spread` x mean: 1 +
/// spread x the expected largest of as many normal draws (Blom, Statistical Estimates and Transformed
/// Beta-Variables, 1958; within 1 % from 8 values on, 4.5 % too high for 2).
double largest_over_mean(double spread, std::int64_t count);

/// The same for each of `groups` groups of `each` values: their largest ones in order, each at the quantile
/// that Blom gives its place among them and never below the mean, dealt out so that groups with large ones do
/// not stand together.
std::vector<double> largest_of_groups(double spread, std::int64_t groups, std::int64_t each);

}  // namespace moesim
