// Interleaved 1F1B (Narayanan et al., arXiv 2104.04473, section 2.2.2): each rank holds v chunks;
// microbatches go in groups of p through one chunk after the other. Bubble (p-1)(F+B)/v, sends v times as
// many; rank 0 keeps vp+p-1 microbatch-chunks alive (Korthikanti et al., arXiv 2205.05198, section 4.2.3).
// Groups of other sizes are Megatron-Core's --microbatch-group-size-per-virtual-pipeline-stage (schedules.py,
// get_schedule_table); where no size is given and p does not divide the microbatches, PyTorch's rounds
// (torch.distributed.pipelining, ScheduleInterleaved1F1B), and one more in the first ones for what is left.
#include "sim/schedule/interleaved.hpp"

#include <algorithm>

#include "models/base/at.hpp"

namespace moesim {

Fit Interleaving::fits(std::string_view kind, const PipelineShape& shape) const {
  if (group == 0) return {};
  if (group < shape.ranks || group > shape.microbatches) {
    return Misfit("schedule",
                  "{}: groups of {} of {} microbatches on {} pipeline ranks, expected one for each rank at "
                  "least, and no more than all",
                  kind, group, shape.microbatches, shape.ranks);
  }
  const std::int64_t left = shape.microbatches % group;
  if (left == 0 || left >= shape.ranks) return {};
  return Misfit("schedule", "{}: {} microbatches in groups of {} leave {}, expected none or at least {}",
                kind, shape.microbatches, group, left, shape.ranks);
}

std::int64_t Interleaving::largest(const PipelineShape& shape) const {
  if (group > 0) return group;
  const std::int64_t groups = std::max(std::int64_t{1}, shape.microbatches / shape.ranks);
  return (shape.microbatches + groups - 1) / groups;
}

std::vector<Slot> Interleaving::turns(const PipelineShape& shape) const {
  std::vector<Slot> turns;
  turns.reserve(static_cast<std::size_t>(shape.microbatches * chunks));
  std::int64_t first = 0;
  for (std::int64_t groups = std::max(std::int64_t{1}, shape.microbatches / shape.ranks);
       first < shape.microbatches; --groups) {
    const std::int64_t left = shape.microbatches - first;
    const std::int64_t size = group > 0 ? std::min(group, left) : (left + groups - 1) / groups;
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
      for (std::int64_t m = first; m < first + size; ++m)
        turns.push_back(
            {.chunk = static_cast<std::int16_t>(chunk), .microbatch = static_cast<std::int32_t>(m)});
    first += size;
  }
  return turns;
}

Slot Interleaving::slot(Pass pass, Slot turn) const {
  turn.pass = pass;
  if (pass != Pass::forward) turn.chunk = static_cast<std::int16_t>(chunks - 1 - turn.chunk);
  return turn;
}

Interleaving read_interleaving(Reader& reader) {
  return {.chunks = reader.integer({.name = "chunks",
                                    .help = "model chunks that each rank holds",
                                    .fallback = 2,
                                    .at_least = 1,
                                    .at_most = 100}),
          .group = reader.integer(
              {.name = "group",
               .help = "microbatches that go through a chunk before the next chunk's turn (0: one for each "
                       "rank, and a few more where ranks do not divide the microbatches)",
               .fallback = 0,
               .at_least = 0,
               .at_most = 1'000'000})};
}

namespace {

class Interleaved final : public Schedule {
 public:
  Interleaved(Interleaving interleaving, bool overlap) : interleaving_(interleaving), overlap_(overlap) {}
  Chains chains(std::int64_t ranks) const override { return straight_chains(ranks, interleaving_.chunks); }
  std::int64_t chunks_of_given_durations() const override { return interleaving_.chunks; }
  Fit fits(const PipelineShape& shape) const override { return interleaving_.fits("interleaved", shape); }

  Order order(const PipelineShape& shape) const override {
    Order order = empty_order(shape, chains(shape.ranks));
    const std::vector<Slot> turns = interleaving_.turns(shape);
    const auto total = static_cast<std::int64_t>(turns.size());
    for (std::int64_t r = 0; r < shape.ranks; ++r) {
      std::vector<Slot>& rank = at(order.ranks, r);
      // The rule of Megatron-Core, which has no exception for m == p any more: turning as early as this costs
      // no time there and keeps less alive.
      // An overlapped backward belongs to an earlier forward than the one beside it: one more runs ahead.
      const std::int64_t ahead =
          std::min(total, (shape.ranks - r - 1) * 2 +
                              (interleaving_.chunks - 1) * interleaving_.largest(shape) + (overlap_ ? 1 : 0));
      for (std::int64_t i = 0; i < ahead; ++i)
        rank.push_back(interleaving_.slot(Pass::forward, at(turns, i)));
      for (std::int64_t i = 0; i < total; ++i) {
        if (ahead + i < total) {
          rank.push_back(interleaving_.slot(Pass::forward, at(turns, ahead + i)));
          rank.back().overlapped = overlap_;
        }
        rank.push_back(interleaving_.slot(Pass::backward, at(turns, i)));
      }
    }
    return order;
  }

 private:
  Interleaving interleaving_;
  bool overlap_;
};

std::unique_ptr<const Schedule> make(Reader& reader) {
  const Interleaving interleaving = read_interleaving(reader);
  const bool overlap = reader.flag({.name = "overlap",
                                    .help = "a forward shares the device with the backward that follows it",
                                    .fallback = false});
  return std::make_unique<Interleaved>(interleaving, overlap);
}

}  // namespace

extern constexpr Entry<Schedule> interleaved_schedule{
    "interleaved", "1F1B over several model chunks a rank, as Megatron-LM's virtual pipeline", make};

}  // namespace moesim
