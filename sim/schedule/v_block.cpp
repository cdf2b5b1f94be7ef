// V-Half and V-Min (Qi et al., Pipeline Parallelism with Controllable Memory, arXiv 2405.15362):
// two chunks a rank in a V and a building block that repeats every six passes, which decides how long a
// microbatch stays: on all ranks about p/2 and p/3 of them, of 1F1B's p. Weight gradients fill the gaps.
// Before the first microbatch is done and after the last has begun, passes go to earlier gaps as far as
// memory lets them.
#include <algorithm>
#include <array>
#include <deque>

#include "models/base/at.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

/// The passes of a microbatch on a rank in the order in which they come; weight gradients follow from them.
struct Step {
  Pass pass;
  std::int16_t chunk;
  std::int32_t from;  ///< the neighbour, before or behind, that it waits for
};
constexpr std::array<Step, 4> steps{Step{Pass::forward, 0, -1}, Step{Pass::forward, 1, 1},
                                    Step{Pass::backward_input, 1, -1}, Step{Pass::backward_input, 0, 1}};
/// Cells of a grid in which every pass takes one; F, B and W of two chunks fill a period.
constexpr std::int64_t period = 6;

/// In which cell of the grid a rank has each step of microbatch 0.
using Block = std::array<std::int64_t, 4>;
using BlockOf = Block (*)(std::int64_t ranks, std::int64_t rank);

/// A pause between the ranks' turn and the way back lets no two passes of a rank fall on one cell.
Block half_block(std::int64_t p, std::int64_t r) {
  const std::int64_t pause = p % 2 == 0 ? 3 : 0;
  return {2 * r, 3 * p - r - 2, 3 * p + pause + 2 * r - 1, 6 * p + pause - r - 2};
}
Block least_block(std::int64_t p, std::int64_t r) {
  const std::int64_t pause = p % 3 == 0 ? 2 : 0;
  return {r, 2 * p - r - 1, 2 * p + pause + r, 4 * p + pause - r - 1};
}

struct Cell {
  std::int8_t step = -1;  ///< none: free for a weight gradient
  std::int32_t microbatch = 0;
};

/// What a rank has before a cell: microbatch-chunks in memory, and those of them that wait for their W.
struct State {
  std::int32_t held = 0, owed = 0;
  friend bool operator==(const State&, const State&) = default;

  void pass(const Cell& cell) {
    if (cell.step < 0 && owed > 0) --held, --owed;
    if (cell.step >= 0) ++(at(steps, cell.step).pass == Pass::forward ? held : owed);
  }
};

/// The cells of one rank.
class Row {
 public:
  Row(const Block& block, std::int64_t microbatches, std::int64_t length)
      : cells_(static_cast<std::size_t>(length)), before_(static_cast<std::size_t>(length) + 1) {
    for (std::size_t step = 0; step < block.size(); ++step)
      for (std::int64_t m = 0; m < microbatches; ++m)
        at(cells_, block[step] + period * m) = {static_cast<std::int8_t>(step), static_cast<std::int32_t>(m)};
    settle(0, length);
  }

  const Cell& cell(std::int64_t place) const { return at(cells_, place); }

  std::int32_t most_held() const {
    std::int32_t most = 0;
    for (const State& state : before_) most = std::max(most, state.held);
    return most;
  }

  /// Moves a pass to the first free cell from `earliest` on that lets the rank hold no more than `limit`;
  /// where it stands then.
  std::int64_t move(std::int64_t place, std::int64_t earliest, std::int32_t limit) {
    for (std::int64_t to = earliest; to < place; ++to) {
      if (cell(to).step >= 0) continue;
      std::swap(at(cells_, to), at(cells_, place));
      if (holds(to, place, limit)) {
        settle(to, place + 1);
        return to;
      }
      std::swap(at(cells_, to), at(cells_, place));
    }
    return place;
  }

  /// The rank's order, with weight gradients in free cells, first come first served, and behind the last.
  std::vector<Slot> slots() const {
    std::vector<Slot> slots;
    std::deque<Slot> owed;
    const auto weight = [&] {
      slots.push_back(owed.front());
      owed.pop_front();
    };
    for (const Cell& cell : cells_) {
      if (cell.step < 0 && !owed.empty()) weight();
      if (cell.step < 0) continue;
      const Step& step = at(steps, cell.step);
      slots.push_back({.pass = step.pass, .chunk = step.chunk, .microbatch = cell.microbatch});
      if (step.pass != Pass::forward)
        owed.push_back({.pass = Pass::backward_weight, .chunk = step.chunk, .microbatch = cell.microbatch});
    }
    while (!owed.empty()) weight();
    return slots;
  }

 private:
  /// Whether the rank stays within the limit if cells changed between the two places.
  bool holds(std::int64_t from, std::int64_t to, std::int32_t limit) const {
    State state = at(before_, from);
    for (std::int64_t i = from; i < static_cast<std::int64_t>(cells_.size()); ++i) {
      if (i > to && state == at(before_, i)) return true;
      state.pass(cell(i));
      if (state.held > limit) return false;
    }
    return true;
  }

  /// Counts anew from a place on, at least until the other and until nothing changes any more.
  void settle(std::int64_t from, std::int64_t until) {
    State state = at(before_, from);
    for (std::int64_t i = from; i < static_cast<std::int64_t>(cells_.size()); ++i) {
      state.pass(cell(i));
      if (i >= until && state == at(before_, i + 1)) return;
      at(before_, i + 1) = state;
    }
  }

  std::vector<Cell> cells_;
  std::vector<State> before_;
};

class Grid {
 public:
  Grid(const PipelineShape& shape, BlockOf block_of)
      : microbatches_(shape.microbatches),
        placed_(steps.size() * static_cast<std::size_t>(shape.ranks * shape.microbatches)) {
    const std::int64_t last = period * (shape.microbatches - 1);
    for (std::int64_t r = 0; r < shape.ranks; ++r)
      length_ = std::max(length_, block_of(shape.ranks, r).back() + last + 1);
    for (std::int64_t r = 0; r < shape.ranks; ++r)
      rows_.emplace_back(block_of(shape.ranks, r), shape.microbatches, length_);
    steady_from_ = block_of(shape.ranks, 0).back();
    steady_to_ = last;
    for (const Row& row : rows_) limit_ = std::max(limit_, row.most_held());
  }

  void squeeze() {
    for (std::int64_t i = 0; i < length_; ++i) {
      const bool steady = i >= steady_from_ && i <= steady_to_;
      for (std::size_t r = 0; r < rows_.size(); ++r) {
        const Cell cell = rows_[r].cell(i);
        if (cell.step < 0) continue;
        placed(cell.step, r, cell.microbatch) = steady ? i : rows_[r].move(i, earliest(cell, r), limit_);
      }
    }
  }

  std::vector<Slot> slots(std::size_t rank) const { return rows_[rank].slots(); }

 private:
  /// The cell after all that a pass needs, and after the same pass of the microbatch before.
  std::int64_t earliest(const Cell& cell, std::size_t rank) {
    std::int64_t last = -1;
    const auto after = [&](std::int32_t step, std::size_t r, std::int32_t m) {
      last = std::max(last, placed(step, r, m));
    };
    const std::int64_t neighbour = static_cast<std::int64_t>(rank) + at(steps, cell.step).from;
    if (neighbour >= 0 && neighbour < static_cast<std::int64_t>(rows_.size()))
      after(cell.step, static_cast<std::size_t>(neighbour), cell.microbatch);
    if (cell.step > 0) after(cell.step - 1, rank, cell.microbatch);
    if (cell.microbatch > 0) after(cell.step, rank, cell.microbatch - 1);
    return last + 1;
  }

  std::int64_t& placed(std::int32_t step, std::size_t rank, std::int32_t microbatch) {
    const std::size_t row = static_cast<std::size_t>(step) * rows_.size() + rank;
    return at(placed_, static_cast<std::int64_t>(row) * microbatches_ + microbatch);
  }

  std::int64_t microbatches_, length_ = 0;
  std::int32_t limit_ = 0;
  std::int64_t steady_from_ = 0, steady_to_ = 0;  // cells in which the block repeats on all ranks
  std::vector<Row> rows_;
  std::vector<std::int64_t> placed_;  // by step, rank and microbatch
};

class VBlock final : public Schedule {
 public:
  explicit VBlock(BlockOf block_of) : block_of_(block_of) {}
  Chains chains(std::int64_t ranks) const override { return v_chains(ranks); }
  std::int64_t chunks_of_given_durations() const override { return 2; }

  Order order(const PipelineShape& shape) const override {
    Order order = empty_order(shape, chains(shape.ranks));
    Grid grid(shape, block_of_);
    grid.squeeze();
    for (std::size_t r = 0; r < order.ranks.size(); ++r) order.ranks[r] = grid.slots(r);
    return order;
  }

 private:
  BlockOf block_of_;
};

}  // namespace

extern constexpr Entry<Schedule> v_half_schedule{
    "v_half", "two chunks a rank in a V, backward split, at half of 1F1B's activations",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<VBlock>(half_block); }};

extern constexpr Entry<Schedule> v_min_schedule{
    "v_min", "two chunks a rank in a V, backward split, at a third of 1F1B's activations",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<VBlock>(least_block); }};

}  // namespace moesim
