// How uneven loads are, in the measures of the papers, and what the key "balance" does to them.
#pragma once

#include <span>

namespace moesim {

/// The busiest expert's load over the mean. DeepSeek's "maximal violation" (arXiv 2408.15664, equation 4) is
/// this less 1.
double max_over_mean(std::span<const double> load);

/// The auxiliary loss of Switch Transformers (arXiv 2101.03961, equation 4) without its alpha, E x sum of f
/// P, where the router's mean probabilities P are its choices f: 1 + (deviation over mean)^2, and 1 where
/// even. GShard's (arXiv 2006.16668, algorithm 1) is the mean of f P: this over E^2.
double balancing_loss(std::span<const double> load);

/// The balance that brings load max over mean from `natural` to `wanted`: 1 - (wanted - 1) / (natural - 1).
/// Both are at least 1 and wanted is not above natural. It brings the loss's excess over 1 down by (1 -
/// balance)^2.
double balance_between(double natural, double wanted);

}  // namespace moesim
