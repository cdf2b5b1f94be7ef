// Chimera (Li and Hoefler, arXiv 2107.06925): two pipelines in opposite directions, each a 1F1B of half of
// every p microbatches, merged; groups of p microbatches follow each other. Bubble fraction (p-2)/(2m+p-2)
// for B = F.
#include <limits>
#include <optional>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

/// The 1F1B order of both directions, merged rank by rank in the order in which unit passes can run: a rank
/// with a choice runs backward before forward, and of two directions the microbatch that entered first. Both
/// passes of a direction reach a rank in the order of their microbatches, so counts say how far it has come.
class Merger {
 public:
  Merger(std::int64_t ranks, std::int64_t per_direction) : p_(ranks), n_(per_direction) {
    const auto cells = static_cast<std::size_t>(2 * p_ * n_);
    forward_end_.assign(cells, never);
    backward_end_.assign(cells, never);
    forwards_.assign(static_cast<std::size_t>(2 * p_), 0);
    backwards_.assign(static_cast<std::size_t>(2 * p_), 0);
  }

  std::vector<std::vector<Slot>> merge() {
    std::vector<std::vector<Slot>> ranks(static_cast<std::size_t>(p_));
    std::int64_t left = 4 * p_ * n_;
    for (std::int64_t now = 0; left > 0; ++now) {
      for (std::int64_t r = 0; r < p_; ++r) {
        const std::optional<Slot> slot = choose(r, now);
        if (!slot) continue;
        run(r, *slot, now);
        at(ranks, r).push_back(*slot);
        --left;
      }
    }
    return ranks;
  }

 private:
  static constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

  std::size_t cell(std::int64_t direction, std::int64_t rank, std::int64_t microbatch) const {
    return static_cast<std::size_t>((direction * p_ + rank) * n_ + microbatch);
  }
  /// How many microbatches of the direction have had the pass on the rank.
  std::int64_t& done(Pass pass, std::int64_t direction, std::int64_t rank) {
    return at(pass == Pass::forward ? forwards_ : backwards_, direction * p_ + rank);
  }
  /// Stages from the entry of the direction to the rank, and back.
  std::int64_t stage(std::int64_t direction, std::int64_t rank) const {
    return direction == 0 ? rank : p_ - 1 - rank;
  }
  std::int64_t rank_at(std::int64_t direction, std::int64_t stage) const {
    return direction == 0 ? stage : p_ - 1 - stage;
  }

  /// Whether the next microbatch of the direction can have the pass on the rank now.
  bool ready(Pass pass, std::int64_t direction, std::int64_t rank, std::int64_t now) {
    const std::int64_t microbatch = done(pass, direction, rank);
    if (microbatch == n_) return false;
    const std::int64_t s = stage(direction, rank);
    if (pass == Pass::forward) {
      // Groups of p microbatches enter at the pace of their work: the next one fills the bubble of the last.
      if (s == 0) return now >= 2 * p_ * (2 * microbatch / p_);
      return forward_end_[cell(direction, rank_at(direction, s - 1), microbatch)] <= now;
    }
    if (forward_end_[cell(direction, rank, microbatch)] > now) return false;
    return s == p_ - 1 || backward_end_[cell(direction, rank_at(direction, s + 1), microbatch)] <= now;
  }

  std::optional<Slot> choose(std::int64_t rank, std::int64_t now) {
    for (const Pass pass : {Pass::backward, Pass::forward}) {
      std::optional<Slot> best;
      std::int64_t best_age = never;
      for (std::int64_t direction = 0; direction < 2; ++direction) {
        if (!ready(pass, direction, rank, now)) continue;
        const std::int64_t microbatch = done(pass, direction, rank);
        // The further a microbatch has come, the earlier it is due: its first pass entered 2 x stages ago.
        const std::int64_t age = 2 * microbatch * p_ - stage(direction, rank);
        if (age >= best_age) continue;
        best_age = age;
        best = Slot{.pass = pass,
                    .chunk = static_cast<std::int16_t>(direction),
                    .microbatch = static_cast<std::int32_t>(microbatch)};
      }
      if (best) return best;
    }
    return std::nullopt;
  }

  void run(std::int64_t rank, const Slot& slot, std::int64_t now) {
    // A pass takes one unit, so what ends at now + 1 cannot be taken for ready by a rank that still chooses.
    (slot.pass == Pass::forward ? forward_end_ : backward_end_)[cell(slot.chunk, rank, slot.microbatch)] =
        now + 1;
    ++done(slot.pass, slot.chunk, rank);
  }

  std::int64_t p_, n_;
  std::vector<std::int64_t> forward_end_, backward_end_;
  std::vector<std::int64_t> forwards_, backwards_;
};

class Chimera final : public Schedule {
 public:
  Chains chains(std::int64_t ranks) const override { return bidirectional_chains(ranks); }

  Fit fits(const PipelineShape& shape) const override {
    if (shape.ranks % 2 != 0)
      return Misfit("schedule", "chimera: {} pipeline ranks are odd, expected an even number", shape.ranks);
    if (shape.microbatches % 2 == 0) return {};
    return Misfit("schedule", "chimera: {} microbatches are odd, expected an even number",
                  shape.microbatches);
  }

  Order order(const PipelineShape& shape) const override {
    const std::int64_t m = shape.microbatches;
    Order order = empty_order(shape, chains(shape.ranks));
    order.ranks = Merger(shape.ranks, m / 2).merge();
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
