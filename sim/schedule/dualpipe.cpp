// DualPipe (DeepSeek-V3, arXiv 2412.19437, section 3.2.1): microbatches enter at both ends, each rank holds a
// stage of either direction, and a forward of one direction overlaps with a backward of the other. Bubble
// (p/2-1)(FB+B-3W), parameters twice, p+1 microbatches alive.
#include <algorithm>

#include "models/base/at.hpp"
#include "sim/schedule/dual.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

class DualPipe final : public Schedule {
 public:
  Chains chains(std::int64_t ranks) const override { return bidirectional_chains(ranks); }

  Fit fits(const PipelineShape& shape) const override {
    const std::int64_t p = shape.ranks;
    const std::int64_t m = shape.microbatches;
    if (p % 2 != 0)
      return Misfit("schedule", "dualpipe: {} pipeline ranks are odd, expected an even number", p);
    if (m % 2 == 0 && m >= 2 * p) return {};
    return Misfit("schedule",
                  "dualpipe: {} microbatches on {} pipeline ranks, expected an even number of at least {}", m,
                  p, 2 * p);
  }

  Order order(const PipelineShape& shape) const override {
    const std::int64_t p = shape.ranks;
    const std::int64_t m = shape.microbatches;
    Order order = empty_order(shape, chains(p));
    for (std::int64_t r = 0; r < p; ++r) {
      const std::int64_t near = std::min(r, p - 1 - r);
      const bool from_above = r < p / 2;
      const auto slot = [&](Pass pass, int phase, std::int32_t index) {
        const bool down =
            (phase == 0) == from_above;  // chain 0 runs down and holds the first half of the microbatches
        return Slot{.pass = pass,
                    .chunk = static_cast<std::int16_t>(down ? 0 : 1),
                    .microbatch = index + static_cast<std::int32_t>(down ? 0 : m / 2)};
      };
      at(order.ranks, r) =
          dual_order({.depth = p / 2, .rank = near, .pairs = m / 2 - p + near + 1, .slot = slot});
    }
    return order;
  }
};

}  // namespace

extern constexpr Entry<Schedule> dualpipe_schedule{
    "dualpipe",
    "microbatches from both ends, forward and backward of opposite directions overlapped (DeepSeek-V3)",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<DualPipe>(); }};

}  // namespace moesim
