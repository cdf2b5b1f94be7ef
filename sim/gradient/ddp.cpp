// Data parallelism as PyTorch's DistributedDataParallel does it (Li et al., VLDB 2020, arXiv 2006.15704;
// torch/csrc/distributed/c10d/reducer.cpp, torch/nn/parallel/distributed.py): beside the last backward, each
// gradient is divided by the ranks and copied into a bucket. A bucket is full with the tensor that brings it
// to its size, 1 MiB for the first. Its sum is copied back into the gradients unless they are views of it. Of
// Psi parameters each rank of N sends 2 (N-1)/N Psi gradients.
#include <fmt/format.h>

#include "sim/gradient/gradient_sync.hpp"

namespace moesim {
namespace {

std::unique_ptr<const GradientSync> make(Reader& reader) {
  GradientPlan plan;
  plan.updater = Updater::every_rank;
  plan.overlap = true;
  plan.by_tensor = true;
  plan.bucket = reader.bytes({.name = "bucket",
                              .help = "a bucket of gradients is sent once it has as much (bucket_cap_mb)",
                              .fallback = Bytes{25 << 20},
                              .at_least = Bytes{1 << 20}});
  const bool are_views = reader.flag({.name = "views",
                                      .help = "gradients are views of their bucket, into which sums need not "
                                              "be copied back (gradient_as_bucket_view)",
                                      .fallback = false});
  plan.copies = are_views ? SyncCopies::views : SyncCopies::buckets;
  return make_gradient_sync(plan);
}

}  // namespace

extern constexpr Entry<GradientSync> ddp_gradient_sync{
    "ddp", "all_reduce as PyTorch's DDP: buckets of tensors, with the copies into them and back", make};

}  // namespace moesim
