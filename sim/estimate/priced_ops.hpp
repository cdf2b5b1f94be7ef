// The kernels of a compute act, as the scenario's software has them: what `moesim schedule --layer` lists.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/estimate/act_ops.hpp"

namespace moesim {

/// What kernels take on one rank with nothing beside them.
struct KernelPrice {
  Time time;  ///< while they run
  Time gap;   ///< before them, while they are launched
  Flops flops;
  Bytes moved;  ///< in device memory
  std::int64_t launches = 0;
  std::int64_t waits = 0;  ///< of the host for the device, after them
  KernelPrice& operator+=(const KernelPrice& more);
};

/// A kernel, or several that are alike.
struct PricedKernel {
  std::string name;  ///< of the way that it has over memory, as its software calls it, or of what it computes
  KernelClass kernel_class = KernelClass::streaming;
  /// Of a product rows, columns and depth (of grouped ones all rows together); of an attention none; else m
  /// elements.
  std::int64_t m = 0, n = 0, k = 0;
  KernelPrice price{};
};

/// An op with its kernels, one after the other; some ops of a software have none.
struct PricedOp {
  std::string_view name;
  Module module = Module::other;
  OpPass pass = OpPass::forward;  ///< of a backward's act: forward is computed again
  Bytes kept{};                   ///< of a forward: for backward
  KernelPrice price{};            ///< of all kernels
  std::vector<PricedKernel> kernels{};
};

/// The ops of an act in their order, on a device that takes `pace` times as long as the scenario's.
std::vector<PricedOp> priced_ops(const OpsOfAct& act, const Scenario& scenario, double pace, bool keeps);

}  // namespace moesim
