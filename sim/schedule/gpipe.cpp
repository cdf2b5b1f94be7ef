// GPipe (Huang et al., arXiv 1811.06965): all forwards, then all backwards in reverse. Every microbatch is
// alive at once. Bubble (p-1)(F+B).
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

class GPipe final : public Schedule {
 public:
  Order order(const PipelineShape& shape) const override {
    Order order = empty_order(shape, straight_chains(shape.ranks));
    const auto m = static_cast<std::int32_t>(shape.microbatches);
    for (std::vector<Slot>& rank : order.ranks) {
      for (std::int32_t i = 0; i < m; ++i) rank.push_back({.pass = Pass::forward, .microbatch = i});
      for (std::int32_t i = m - 1; i >= 0; --i) rank.push_back({.pass = Pass::backward, .microbatch = i});
    }
    return order;
  }
};

}  // namespace

extern constexpr Entry<Schedule> gpipe_schedule{
    "gpipe", "all forwards, then all backwards",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<GPipe>(); }};

}  // namespace moesim
