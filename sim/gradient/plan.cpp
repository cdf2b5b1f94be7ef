// What all ways of synchronisation have in common.
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

std::unique_ptr<const GradientSync> make_gradient_sync(const GradientPlan& plan) {
  return std::make_unique<Planned>(plan);
}

GradientPlan read_gradient_timing(Reader& reader) {
  GradientPlan plan;
  plan.overlap = reader.flag({.name = "overlap",
                              .help = "gradients are sent beside the backward that produces them last",
                              .fallback = false});
  // Megatron-LM, DistributedDataParallelConfig: at least 40,000,000 parameters a bucket, in fp32; without
  // overlap one bucket holds them all.
  plan.bucket =
      reader.bytes({.name = "bucket",
                    .help = "gradients that are sent together where they are sent beside compute or sharded",
                    .fallback = Bytes{160'000'000},
                    .at_least = Bytes{1'000'000}});
  return plan;
}

}  // namespace moesim
