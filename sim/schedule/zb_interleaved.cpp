// Interleaved zero bubble: ZB-H1 (Qi et al., arXiv 2401.10241, section 2) over several chunks a rank, as
// PyTorch has it (torch.distributed.pipelining, ScheduleInterleavedZeroBubble). One forward ahead for each
// rank behind instead of interleaved 1F1B's two, and weight gradients held back to fill the gap: every rank
// keeps at most v p microbatch-chunks alive, 1F1B's memory.
#include <algorithm>

#include "models/base/at.hpp"
#include "sim/schedule/interleaved.hpp"

namespace moesim {
namespace {

class ZbInterleaved final : public Schedule {
 public:
  explicit ZbInterleaved(Interleaving interleaving) : interleaving_(interleaving) {}
  Chains chains(std::int64_t ranks) const override { return straight_chains(ranks, interleaving_.chunks); }
  std::int64_t chunks_of_given_durations() const override { return interleaving_.chunks; }
  Fit fits(const PipelineShape& shape) const override { return interleaving_.fits("zb_interleaved", shape); }

  Order order(const PipelineShape& shape) const override {
    Order order = empty_order(shape, chains(shape.ranks));
    const std::vector<Slot> turns = interleaving_.turns(shape);
    const auto total = static_cast<std::int64_t>(turns.size());
    for (std::int64_t r = 0; r < shape.ranks; ++r) {
      const auto write = [&](Pass pass, std::int64_t turn) {
        if (turn < total) at(order.ranks, r).push_back(interleaving_.slot(pass, at(turns, turn)));
      };
      const std::int64_t ahead =
          std::min(total, shape.ranks - 1 - r + (interleaving_.chunks - 1) * interleaving_.largest(shape));
      for (std::int64_t i = 0; i < ahead; ++i) write(Pass::forward, i);
      for (std::int64_t i = 0; i < total; ++i) {
        write(Pass::forward, ahead + i);
        write(Pass::backward_input, i);
        if (i >= r) write(Pass::backward_weight, i - r);
      }
      for (std::int64_t i = std::max(std::int64_t{0}, total - r); i < total; ++i)
        write(Pass::backward_weight, i);
    }
    return order;
  }

 private:
  Interleaving interleaving_;
};

}  // namespace

extern constexpr Entry<Schedule> zb_interleaved_schedule{
    "zb_interleaved", "ZB-H1 over several model chunks a rank, at 1F1B's memory",
    [](Reader& reader) -> std::unique_ptr<const Schedule> {
      return std::make_unique<ZbInterleaved>(read_interleaving(reader));
    }};

}  // namespace moesim
