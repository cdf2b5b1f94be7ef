// ZeRO, stage 1 (arXiv 1910.02054, section 5.1; GSPMD's weight-update sharding, arXiv 2004.13336): each rank
// of N updates a shard. It sends (N-1)/N Psi gradients and (N-1)/N Psi parameters: as much as an all-reduce.
#include "sim/gradient/gradient_sync.hpp"

namespace moesim {

extern constexpr Entry<GradientSync> zero1_gradient_sync{
    "zero1", "each rank updates its shard: the optimizer's state is sharded", [](Reader& reader) {
      GradientPlan plan = read_gradient_timing(reader);
      read_parameter_timing(reader, plan);
      plan.updater = Updater::owner;
      return make_gradient_sync(plan);
    }};

}  // namespace moesim
