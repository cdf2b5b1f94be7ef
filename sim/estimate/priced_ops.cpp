#include "sim/estimate/priced_ops.hpp"

#include <algorithm>
#include <numeric>

#include "models/base/at.hpp"

namespace moesim {
namespace {

/// What of a scenario an act has.
struct Scale {
  double share, pace;
};

PricedKernel priced(const Op& kernel, const Scenario& scenario, const Scale& scale) {
  const Device& device = scenario.cluster->device;
  const Time alone = scenario.cost->time(kernel, device, {0, scenario.clock}).time;
  const Time gap = std::min(alone, device.launch_overhead * kernel.kernels);
  const double of_time = scale.share * scale.pace;
  const std::string_view name =
      kernel.access.name.empty() ? at(op_kind_names, kernel.kind) : kernel.access.name;
  PricedKernel priced{.name = std::string(name),
                      .kernel_class = kernel.kernel_class,
                      .price = {.time = scaled(alone, of_time) - scaled(gap, of_time),
                                .gap = scaled(gap, of_time),
                                .flops = kernel.flops * scale.share,
                                .moved = scaled(kernel.bytes, kernel.passes * scale.share),
                                .launches = kernel.kernels,
                                .waits = kernel.waits}};
  if (kernel.kind == OpKind::gemm || kernel.kind == OpKind::grouped_gemm) {
    const std::int64_t rows = std::accumulate(kernel.rows.begin(), kernel.rows.end(), std::int64_t{0});
    const bool is_grouped = kernel.kind == OpKind::grouped_gemm;
    priced.m = !is_grouped ? kernel.m : kernel.rows_are_depth ? kernel.n : rows;
    priced.n = is_grouped && kernel.rows_are_depth ? kernel.k : kernel.n;
    priced.k = is_grouped && kernel.rows_are_depth ? rows : kernel.k;
  } else if (kernel.kind != OpKind::attention) {
    priced.m = kernel.m * kernel.n;
  }
  return priced;
}

}  // namespace

KernelPrice& KernelPrice::operator+=(const KernelPrice& more) {
  time += more.time;
  gap += more.gap;
  flops += more.flops;
  moved += more.moved;
  launches += more.launches;
  waits += more.waits;
  return *this;
}

std::vector<PricedOp> priced_ops(const OpsOfAct& act, const Scenario& scenario, double pace, bool keeps) {
  std::vector<PricedOp> all;
  std::vector<Op> kernels;
  for (const Op& op : act.ops) {
    PricedOp& made = all.emplace_back(PricedOp{.name = op.name, .module = op.module, .pass = op.pass});
    if (op.pass == OpPass::forward && keeps)
      made.kept = from_bytes(scenario.software->kept_by(op) * act.share);
    kernels.clear();
    scenario.software->add_kernels(op, kernels);
    for (const Op& kernel : kernels) {
      made.kernels.push_back(priced(kernel, scenario, {act.share, pace}));
      made.price += made.kernels.back().price;
    }
  }
  return all;
}

}  // namespace moesim
