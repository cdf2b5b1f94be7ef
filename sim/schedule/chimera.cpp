// Chimera (Li and Hoefler, arXiv 2107.06925): two pipelines in opposite directions, each a 1F1B of half of
// every p microbatches, merged; groups of p microbatches follow each other. Bubble fraction (p-2)/(2m+p-2)
// for B = F.
#include <algorithm>
#include <limits>

#include "models/base/error.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

/// The 1F1B order of both directions of one group of p microbatches, merged rank by rank in the order in
/// which unit passes can run: a rank with a choice takes the pass of the microbatch that entered first,
/// backward before forward.
class Merger {
 public:
  Merger(std::int64_t ranks, std::int64_t per_direction) : p_(ranks), n_(per_direction) {
    const auto size = static_cast<std::size_t>(2 * p_ * n_);
    forward_end_.assign(size, never);
    backward_end_.assign(size, never);
  }

  std::vector<std::vector<Slot>> merge() {
    std::vector<std::vector<Slot>> ranks(static_cast<std::size_t>(p_));
    std::int64_t left = 4 * p_ * n_;
    for (std::int64_t now = 0; left > 0; ++now) {
      std::vector<Slot> chosen(static_cast<std::size_t>(p_), Slot{.microbatch = -1});
      for (std::int64_t r = 0; r < p_; ++r) chosen[static_cast<std::size_t>(r)] = choose(r, now);
      for (std::int64_t r = 0; r < p_; ++r) {
        const Slot& slot = chosen[static_cast<std::size_t>(r)];
        if (slot.microbatch < 0) continue;
        ends(slot.pass)[at(slot.chunk, r, slot.microbatch)] = now + 1;
        ranks[static_cast<std::size_t>(r)].push_back(slot);
        --left;
      }
    }
    return ranks;
  }

 private:
  static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

  std::vector<std::int64_t>& ends(Pass pass) { return pass == Pass::forward ? forward_end_ : backward_end_; }
  std::size_t at(std::int64_t direction, std::int64_t rank, std::int64_t microbatch) const {
    return static_cast<std::size_t>((direction * p_ + rank) * n_ + microbatch);
  }
  /// Stages from the entry of the direction to the rank.
  std::int64_t stage(std::int64_t direction, std::int64_t rank) const {
    return direction == 0 ? rank : p_ - 1 - rank;
  }
  std::int64_t rank_at(std::int64_t direction, std::int64_t stage) const {
    return direction == 0 ? stage : p_ - 1 - stage;
  }

  bool ready(Pass pass, std::int64_t direction, std::int64_t rank, std::int64_t microbatch,
             std::int64_t now) {
    if (ends(pass)[at(direction, rank, microbatch)] != never) return false;
    const std::int64_t s = stage(direction, rank);
    if (pass == Pass::forward) {
      // Groups of p microbatches enter at the pace of their work: the next one fills the bubble of the last
      // one.
      if (s == 0) return now >= 2 * p_ * (microbatch / (p_ / 2));
      return forward_end_[at(direction, rank_at(direction, s - 1), microbatch)] <= now;
    }
    if (forward_end_[at(direction, rank, microbatch)] > now) return false;
    return s == p_ - 1 || backward_end_[at(direction, rank_at(direction, s + 1), microbatch)] <= now;
  }

  Slot choose(std::int64_t rank, std::int64_t now) {
    for (const Pass pass : {Pass::backward, Pass::forward}) {
      Slot best{.microbatch = -1};
      std::int64_t best_age = never;
      for (std::int64_t direction = 0; direction < 2; ++direction) {
        for (std::int64_t microbatch = 0; microbatch < n_; ++microbatch) {
          if (!ready(pass, direction, rank, microbatch, now)) continue;
          // The further a microbatch has come, the earlier it is due: its first pass entered 2 x stages ago.
          const std::int64_t age = 2 * microbatch * p_ - stage(direction, rank);
          if (age < best_age) {
            best_age = age;
            best = {.pass = pass,
                    .chunk = static_cast<std::int16_t>(direction),
                    .microbatch = static_cast<std::int32_t>(microbatch)};
          }
        }
      }
      if (best.microbatch >= 0) return best;
    }
    return {.microbatch = -1};
  }

  std::int64_t p_, n_;
  std::vector<std::int64_t> forward_end_, backward_end_;
};

class Chimera final : public Schedule {
 public:
  std::int64_t chunks() const override { return 2; }
  bool is_bidirectional() const override { return true; }

  Order order(const PipelineShape& shape) const override {
    const std::int64_t p = shape.ranks;
    const std::int64_t m = shape.microbatches;
    if (p % 2 != 0)
      throw InputError("schedule",
                       fmt::format("chimera: {} pipeline ranks are odd, expected an even number", p));
    if (m % 2 != 0)
      throw InputError("schedule",
                       fmt::format("chimera: {} microbatches are odd, expected an even number", m));
    Order order = bidirectional_pipeline(shape);
    order.ranks = Merger(p, m / 2).merge();
    for (std::vector<Slot>& rank : order.ranks) {
      for (Slot& slot : rank) slot.microbatch += static_cast<std::int32_t>(slot.chunk == 1 ? m / 2 : 0);
    }
    return order;
  }
};

}  // namespace

extern constexpr Entry<Schedule> chimera_schedule{
    "chimera", "two 1F1B pipelines in opposite directions, merged",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<Chimera>(); }};

}  // namespace moesim
