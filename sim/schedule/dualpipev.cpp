// DualPipeV: DualPipe cut in half. Each of p ranks holds stage r and stage 2p-1-r, microbatches run down and
// back up, and no parameter is held twice. Bubble (p-1)(FB+B-3W) with p ranks.
#include "models/base/at.hpp"
#include "sim/schedule/dual.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

class DualPipeV final : public Schedule {
 public:
  Chains chains(std::int64_t ranks) const override { return v_chains(ranks); }

  Fit fits(const PipelineShape& shape) const override {
    if (shape.microbatches >= 2 * shape.ranks) return {};
    return Misfit("schedule", "dualpipev: {} microbatches on {} pipeline ranks, expected at least {}",
                  shape.microbatches, shape.ranks, 2 * shape.ranks);
  }

  Order order(const PipelineShape& shape) const override {
    const std::int64_t p = shape.ranks;
    const std::int64_t m = shape.microbatches;
    Order order = empty_order(shape, chains(p));
    const auto slot = [](Pass pass, int phase, std::int32_t index) {
      return Slot{.pass = pass, .chunk = static_cast<std::int16_t>(phase), .microbatch = index};
    };
    for (std::int64_t r = 0; r < p; ++r) {
      at(order.ranks, r) = dual_order({.depth = p, .rank = r, .pairs = m - 2 * p + r + 1, .slot = slot});
    }
    return order;
  }
};

}  // namespace

extern constexpr Entry<Schedule> dualpipev_schedule{
    "dualpipev", "DualPipe cut in half: down and back up the ranks, parameters held once",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<DualPipeV>(); }};

}  // namespace moesim
