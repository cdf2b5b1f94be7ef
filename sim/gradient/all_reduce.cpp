// Every rank sums all gradients and updates all parameters (data parallelism as PyTorch's DDP does it, Li et
// al., VLDB 2020, arXiv 2006.15704). Of Psi parameters each rank of N sends 2 (N-1)/N Psi gradients.
#include "sim/gradient/gradient_sync.hpp"

namespace moesim {

extern constexpr Entry<GradientSync> all_reduce_gradient_sync{
    "all_reduce", "every rank sums all gradients and updates all parameters", [](Reader& reader) {
      GradientPlan plan = read_gradient_timing(reader);
      plan.updater = Updater::every_rank;
      return make_gradient_sync(plan);
    }};

}  // namespace moesim
