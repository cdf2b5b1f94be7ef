// ZeRO, stage 3 (arXiv 1910.02054, sections 5.3 and 7.2.2), as PyTorch's FSDP does it (Zhao et al., VLDB
// 2023, arXiv 2304.11277): parameters are gathered layer by layer before a forward and before a backward and
// freed after it, gradients are reduced and scattered after each backward. With m microbatches each rank of N
// sends 2 m (N-1)/N Psi parameters and m (N-1)/N Psi gradients. Kept from the first forward of a step to its
// last backward (Llama 3, arXiv 2407.21783, section 3.3.2, does not reshard after forward), (N-1)/N Psi
// parameters.
#include "sim/gradient/gradient_sync.hpp"

namespace moesim {
namespace {

std::unique_ptr<const GradientSync> make(Reader& reader) {
  GradientPlan plan;
  plan.updater = Updater::owner;
  plan.shards_gradients = true;
  plan.shards_parameters = true;
  plan.by_layer = true;
  plan.overlap = reader.flag({.name = "overlap",
                              .help = "the next layer is gathered, and gradients are sent, beside compute",
                              .fallback = false});
  const bool reshards =
      reader.flag({.name = "reshard_after_forward",
                   .help = "gathered parameters are freed after each use; else kept until the step's end",
                   .fallback = true});
  plan.keeps = reshards ? Keeps::pass : Keeps::step;
  return make_gradient_sync(plan);
}

}  // namespace

extern constexpr Entry<GradientSync> zero3_gradient_sync{
    "zero3", "zero2, and each rank keeps only its shard of the parameters", make};
extern constexpr Entry<GradientSync> fsdp_gradient_sync{"fsdp", "the same as zero3, under PyTorch's name",
                                                        make};

}  // namespace moesim
