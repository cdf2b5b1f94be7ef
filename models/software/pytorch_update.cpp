// Kernels of torch.optim and torch.nn.utils.clip_grad_norm_. Kernels over many tensors take chunks of 65,536
// elements, up to 320 a launch (aten/src/ATen/native/cuda/MultiTensorApply.cuh). Laws are of updates of 378
// million parameters in 38 tensors on one H200, in bf16 and in fp32, those of the fused kernel also of its
// launches over the parameters of six models, which take 108 to 126 us in bf16 and 170 to 184 us in fp32
// (configs/validation/software-h200.json).
#include <algorithm>

#include "models/software/pytorch.hpp"

namespace moesim::pytorch {
namespace {

namespace law {

/// One tensor, a row times a column.
constexpr Access outer = kind::of_elements("outer", 620);

}  // namespace law

Access access_of(const Op& op) {
  if (op.update_step == UpdateStep::whole && op.walk == Walk::fused) return kind::adam;
  if (op.walk != Walk::tensors) return kind::listed;
  switch (op.update_step) {
    case UpdateStep::widen:
      return kind::widened;
    case UpdateStep::scale:
      return kind::scaled;
    case UpdateStep::sum:
      return kind::vector_norm;
    case UpdateStep::sum_rows:
      return kind::column_sums;
    case UpdateStep::outer:
      return law::outer;
    case UpdateStep::transposed:
      return kind::across;
    default:
      return kind::vectorised;
  }
}

}  // namespace

void update(const Op& op, std::vector<Op>& kernels) {
  if (op.kind == OpKind::gemm || op.kind == OpKind::copy) return kernels.push_back(op);
  if (op.update_step == UpdateStep::whole) Kernels(op, kernels).tiny(1, KernelClass::update);  // counts steps
  Op kernel = op;
  kernel.access = access_of(op);
  if (op.walk != Walk::tensors)
    kernel.kernels = std::max<std::int64_t>(1, (op.m + most_elements_of_lists - 1) / most_elements_of_lists);
  kernels.push_back(std::move(kernel));
}

}  // namespace moesim::pytorch
