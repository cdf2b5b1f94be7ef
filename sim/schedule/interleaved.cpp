// Interleaved 1F1B (Narayanan et al., arXiv 2104.04473, section 2.2.2): each rank holds v chunks;
// microbatches go in rounds of p through one chunk after the other. Bubble (p-1)(F+B)/v, sends v times as
// many; rank 0 keeps vp+p-1 microbatch-chunks alive (Korthikanti et al., arXiv 2205.05198, section 4.2.3).
#include <algorithm>

#include "models/base/at.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

class Interleaved final : public Schedule {
 public:
  Interleaved(std::int64_t chunks, bool overlap) : chunks_(chunks), overlap_(overlap) {}
  Chains chains(std::int64_t ranks) const override { return straight_chains(ranks, chunks_); }
  std::int64_t chunks_of_given_durations() const override { return chunks_; }

  Fit fits(const PipelineShape& shape) const override {
    if (shape.microbatches % shape.ranks == 0) return {};
    return Misfit("schedule", "interleaved: {} microbatches are not a multiple of {} pipeline ranks",
                  shape.microbatches, shape.ranks);
  }

  Order order(const PipelineShape& shape) const override {
    Order order = empty_order(shape, chains(shape.ranks));
    const std::int64_t total = shape.microbatches * chunks_;
    for (std::int64_t r = 0; r < shape.ranks; ++r) {
      std::vector<Slot>& rank = at(order.ranks, r);
      // The rule of Megatron-Core, which has no exception for m == p any more: turning as early as this costs
      // no time there and keeps less alive.
      // An overlapped backward belongs to an earlier forward than the one beside it: one more runs ahead.
      const std::int64_t ahead =
          std::min(total, (shape.ranks - r - 1) * 2 + (chunks_ - 1) * shape.ranks + (overlap_ ? 1 : 0));
      for (std::int64_t i = 0; i < ahead; ++i) rank.push_back(slot(Pass::forward, i, shape.ranks));
      for (std::int64_t i = 0; i < total; ++i) {
        if (ahead + i < total) {
          rank.push_back(slot(Pass::forward, ahead + i, shape.ranks));
          rank.back().overlapped = overlap_;
        }
        rank.push_back(slot(Pass::backward, i, shape.ranks));
      }
    }
    return order;
  }

 private:
  /// The i-th forward or backward of a rank: rounds of p microbatches through each chunk, backward from the
  /// last one.
  Slot slot(Pass pass, std::int64_t i, std::int64_t ranks) const {
    const std::int64_t round = i / (ranks * chunks_);
    const std::int64_t within = i % (ranks * chunks_);
    const std::int64_t chunk = within / ranks;
    return {.pass = pass,
            .chunk = static_cast<std::int16_t>(pass == Pass::forward ? chunk : chunks_ - 1 - chunk),
            .microbatch = static_cast<std::int32_t>(round * ranks + within % ranks)};
  }

  std::int64_t chunks_;
  bool overlap_;
};

std::unique_ptr<const Schedule> make(Reader& reader) {
  const std::int64_t chunks = reader.integer({.name = "chunks",
                                              .help = "model chunks that each rank holds",
                                              .fallback = 2,
                                              .at_least = 1,
                                              .at_most = 100});
  const bool overlap = reader.flag({.name = "overlap",
                                    .help = "a forward shares the device with the backward that follows it",
                                    .fallback = false});
  return std::make_unique<Interleaved>(chunks, overlap);
}

}  // namespace

extern constexpr Entry<Schedule> interleaved_schedule{
    "interleaved", "1F1B over several model chunks a rank, as Megatron-LM's virtual pipeline", make};

}  // namespace moesim
