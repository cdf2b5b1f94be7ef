// ZB-H1 and ZB-H2 (Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241, section 2): 1F1B whose
// backward is split, with weight gradients held back to fill the gaps. H1 keeps 1F1B's memory, bubble
// (p-1)(F+B-W); H2 runs twice as far ahead, bubble (p-1)(F+B-2W), and lets ranks flow into the next step.
#include "sim/schedule/zero_bubble.hpp"

#include <algorithm>

#include "models/base/at.hpp"

namespace moesim {

Order zero_bubble_order(const PipelineShape& shape, std::int32_t depth) {
  Order order = empty_order(shape, straight_chains(shape.ranks));
  order.flows_into_next_step = depth > 1;
  const auto m = static_cast<std::int32_t>(shape.microbatches);
  const auto p = static_cast<std::int32_t>(shape.ranks);
  for (std::int32_t r = 0; r < p; ++r) {
    std::vector<Slot>& rank = at(order.ranks, r);
    const std::int32_t warm_up = std::min(depth * (p - 1 - r), m);
    std::int32_t weights = 0;
    for (std::int32_t i = 0; i < warm_up; ++i) rank.push_back({.pass = Pass::forward, .microbatch = i});
    for (std::int32_t i = 0; i < m; ++i) {
      if (warm_up + i < m) rank.push_back({.pass = Pass::forward, .microbatch = warm_up + i});
      rank.push_back({.pass = Pass::backward_input, .microbatch = i});
      if (depth * (p - 1 - r) + i >= depth * (p - 1)) {
        rank.push_back({.pass = Pass::backward_weight, .microbatch = weights++});
      }
    }
    while (weights < m) rank.push_back({.pass = Pass::backward_weight, .microbatch = weights++});
  }
  return order;
}

namespace {

class ZeroBubble final : public Schedule {
 public:
  explicit ZeroBubble(std::int32_t depth) : depth_(depth) {}
  Order order(const PipelineShape& shape) const override { return zero_bubble_order(shape, depth_); }

 private:
  std::int32_t depth_;
};

}  // namespace

extern constexpr Entry<Schedule> zb_h1_schedule{
    "zb_h1", "1F1B with weight gradients held back to fill the bubble, at 1F1B's memory",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<ZeroBubble>(1); }};

extern constexpr Entry<Schedule> zb_h2_schedule{
    "zb_h2", "zero bubble with twice the warm-up: ranks flow into the next step",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<ZeroBubble>(2); }};

}  // namespace moesim
