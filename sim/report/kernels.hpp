// Time, bytes and launches of a step by class of kernel.
#pragma once

#include "sim/report/report.hpp"

namespace moesim {

/// Mean over devices, by KernelClass. A block's time is divided as its kernels divide it when they run alone;
/// of ranks whose loads differ, as those of the mean rank do.
std::array<KernelReport, kernel_class_count> kernels_of(const Work& work, const TaskGraph& graph,
                                                        const Timeline& timeline);

}  // namespace moesim
