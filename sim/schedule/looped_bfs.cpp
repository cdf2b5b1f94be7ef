// Looped breadth-first pipeline (Lamy-Poirier, Breadth-First Pipeline Parallelism, arXiv 2211.05953): several
// chunks a rank; all microbatches go forward through one chunk, then through the next, and back in the same
// way. Bubble (p-1)(F+B)/v from as many microbatches on as there are ranks, all of which are kept alive; the
// gradients of a chunk are complete, and fully sharded parameters gathered, once for all microbatches.
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

class LoopedBfs final : public Schedule {
 public:
  explicit LoopedBfs(std::int64_t chunks) : chunks_(static_cast<std::int16_t>(chunks)) {}
  Chains chains(std::int64_t ranks) const override { return straight_chains(ranks, chunks_); }
  std::int64_t chunks_of_given_durations() const override { return chunks_; }

  Order order(const PipelineShape& shape) const override {
    Order order = empty_order(shape, chains(shape.ranks));
    const auto microbatches = static_cast<std::int32_t>(shape.microbatches);
    for (std::vector<Slot>& rank : order.ranks) {
      for (std::int16_t chunk = 0; chunk < chunks_; ++chunk)
        for (std::int32_t m = 0; m < microbatches; ++m)
          rank.push_back({.pass = Pass::forward, .chunk = chunk, .microbatch = m});
      for (std::int16_t chunk = chunks_; chunk-- > 0;)
        for (std::int32_t m = 0; m < microbatches; ++m)
          rank.push_back({.pass = Pass::backward, .chunk = chunk, .microbatch = m});
    }
    return order;
  }

 private:
  std::int16_t chunks_;
};

}  // namespace

extern constexpr Entry<Schedule> looped_bfs_schedule{
    "looped_bfs", "breadth first over several model chunks a rank: all forwards of a chunk, then of the next",
    [](Reader& reader) -> std::unique_ptr<const Schedule> {
      return std::make_unique<LoopedBfs>(reader.integer({.name = "chunks",
                                                         .help = "model chunks that each rank holds",
                                                         .fallback = 2,
                                                         .at_least = 1,
                                                         .at_most = 100}));
    }};

}  // namespace moesim
