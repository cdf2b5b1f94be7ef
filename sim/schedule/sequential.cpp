// One microbatch at a time: no pipelining at all, the baseline of every schedule. Bubble fraction (p-1)/p.
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

class Sequential final : public Schedule {
 public:
  Order order(const PipelineShape& shape) const override {
    Order order = empty_order(shape, straight_chains(shape.ranks));
    for (std::vector<Slot>& rank : order.ranks) {
      for (std::int32_t i = 0; i < static_cast<std::int32_t>(shape.microbatches); ++i) {
        rank.push_back({.pass = Pass::forward, .microbatch = i});
        rank.push_back({.pass = Pass::backward, .microbatch = i});
      }
    }
    return order;
  }
};

}  // namespace

extern constexpr Entry<Schedule> sequential_schedule{
    "sequential", "one microbatch at a time, no pipelining",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<Sequential>(); }};

}  // namespace moesim
