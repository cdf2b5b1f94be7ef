// Why a step takes as long as it does, in a few sentences that follow from its report.
#pragma once

#include <string>
#include <vector>

#include "sim/report/report.hpp"

namespace moesim {

/// The most important first: whether it fits, what takes time besides compute and of what that is, whether
/// pipeline ranks are unlike, what kernels compute is. Each is one sentence with its figures.
std::vector<std::string> verdict_of(const Report& report);

}  // namespace moesim
