// ZeRO, stage 2 (arXiv 1910.02054, section 5.2): a rank keeps the sum of its shard of the gradients only. So
// what a microbatch produces is reduced and scattered bucket by bucket, and with m microbatches each rank of
// N sends m (N-1)/N Psi gradients and (N-1)/N Psi parameters.
#include "sim/gradient/gradient_sync.hpp"

namespace moesim {

extern constexpr Entry<GradientSync> zero2_gradient_sync{
    "zero2", "zero1, and each rank keeps only its shard of the gradients", [](Reader& reader) {
      GradientPlan plan = read_gradient_timing(reader);
      read_parameter_timing(reader, plan);
      plan.updater = Updater::owner;
      plan.shards_gradients = true;
      return make_gradient_sync(plan);
    }};

}  // namespace moesim
