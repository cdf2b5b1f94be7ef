// 1F1B (PipeDream-Flush, Narayanan et al., arXiv 2104.04473, section 2.2): rank r runs p-1-r forwards ahead,
// then one forward and one backward in turn. At most p-r microbatches are alive. Bubble (p-1)(F+B), as
// GPipe's.
#include "sim/schedule/one_f_one_b.hpp"

#include <algorithm>

#include "models/base/at.hpp"

namespace moesim {

Order one_f_one_b_order(const PipelineShape& shape, bool overlap) {
  Order order = empty_order(shape, straight_chains(shape.ranks));
  const auto m = static_cast<std::int32_t>(shape.microbatches);
  const auto p = static_cast<std::int32_t>(shape.ranks);
  for (std::int32_t r = 0; r < p; ++r) {
    std::vector<Slot>& rank = at(order.ranks, r);
    const std::int32_t warm_up = std::min(overlap ? 2 * (p - 1 - r) + 1 : p - 1 - r, m);
    for (std::int32_t i = 0; i < warm_up; ++i) rank.push_back({.pass = Pass::forward, .microbatch = i});
    for (std::int32_t i = 0; i < m; ++i) {
      if (warm_up + i < m)
        rank.push_back({.pass = Pass::forward, .overlapped = overlap, .microbatch = warm_up + i});
      rank.push_back({.pass = Pass::backward, .microbatch = i});
    }
  }
  return order;
}

namespace {

class OneFOneB final : public Schedule {
 public:
  explicit OneFOneB(bool overlap) : overlap_(overlap) {}
  Order order(const PipelineShape& shape) const override { return one_f_one_b_order(shape, overlap_); }

 private:
  bool overlap_;
};

std::unique_ptr<const Schedule> make(Reader& reader) {
  return std::make_unique<OneFOneB>(reader.flag(
      {.name = "overlap",
       .help = "a forward shares the device with the backward that follows it, at twice the warm-up",
       .fallback = false}));
}

}  // namespace

extern constexpr Entry<Schedule> one_f_one_b_schedule{
    "1f1b", "a few forwards ahead, then one forward and one backward in turn", make};

}  // namespace moesim
