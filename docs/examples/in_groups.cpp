// In groups: a few microbatches go forward, then the same ones backward, then the next few. Holds no more of
// them than a group has, and pays for it: every group has the bubble of a whole pipeline, (p-1)(F+B).
#include <algorithm>

#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

class InGroups final : public Schedule {
 public:
  explicit InGroups(std::int64_t size) : size_(static_cast<std::int32_t>(size)) {}

  Order order(const PipelineShape& shape) const override {
    Order order = empty_order(shape, chains(shape.ranks));
    const auto microbatches = static_cast<std::int32_t>(shape.microbatches);
    for (std::vector<Slot>& rank : order.ranks) {
      for (std::int32_t first = 0; first < microbatches; first += size_) {
        const std::int32_t end = std::min(first + size_, microbatches);
        for (std::int32_t i = first; i < end; ++i) rank.push_back({.pass = Pass::forward, .microbatch = i});
        for (std::int32_t i = first; i < end; ++i) rank.push_back({.pass = Pass::backward, .microbatch = i});
      }
    }
    return order;
  }

 private:
  std::int32_t size_;
};

std::unique_ptr<const Schedule> make(Reader& reader) {
  return std::make_unique<InGroups>(reader.integer(
      {.name = "group", .help = "microbatches of one group", .fallback = 2, .at_least = 1, .at_most = 1024}));
}

}  // namespace

extern constexpr Entry<Schedule> in_groups_schedule{
    "in_groups", "a few microbatches forward, then the same ones backward", make};

}  // namespace moesim
