// What all ways of synchronisation have in common.
#include <fmt/format.h>

#include <algorithm>

#include "sim/gradient/gradient_sync.hpp"

namespace moesim {
namespace {

class Planned final : public GradientSync {
 public:
  explicit Planned(const GradientPlan& plan) : plan_(plan) {}
  GradientPlan plan() const override { return plan_; }

 private:
  GradientPlan plan_;
};

}  // namespace

Operation gradient_operation(Updater updater) {
  switch (updater) {
    case Updater::every_rank:
      return Operation::all_reduce;
    case Updater::owner:
      return Operation::reduce_scatter;
    case Updater::server:
      return Operation::reduce;
  }
  return Operation::all_reduce;
}

std::unique_ptr<const GradientSync> make_gradient_sync(const GradientPlan& plan) {
  return std::make_unique<Planned>(plan);
}

Bytes GradientPlan::bucket_for(std::int64_t ranks, Bytes gradient) const {
  return bucket.count > 0 ? bucket : gradient * std::max<std::int64_t>(40'000'000, 1'000'000 * ranks);
}

GradientPlan read_gradient_timing(Reader& reader) {
  GradientPlan plan;
  plan.overlap = reader.flag({.name = "overlap",
                              .help = "gradients are sent beside the backward that produces them last",
                              .fallback = false});
  plan.bucket = reader.bytes({.name = "bucket",
                              .help = "gradients that are sent together, where they are sent beside compute "
                                      "or sharded (0: 40,000,000 gradients, or 1,000,000 a rank of the group "
                                      "if that is more, as Megatron-LM)",
                              .fallback = Bytes{0},
                              .at_least = Bytes{0}});
  constexpr Bytes least{1'000'000};
  if (plan.bucket.count > 0 && plan.bucket < least) {
    reader.fail("bucket", fmt::format("is {}, expected 0 or at least {}", print(plan.bucket), print(least)));
  }
  return plan;
}

void read_parameter_timing(Reader& reader, GradientPlan& plan) {
  plan.gathers_beside = reader.flag(
      {.name = "overlap_parameters",
       .help = "updated parameters come back beside the next step's first passes, a layer ahead of "
               "them (Megatron-Core: --overlap-param-gather); else before any pass",
       .fallback = false});
}

}  // namespace moesim
