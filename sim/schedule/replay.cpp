#include "sim/schedule/replay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "models/base/error.hpp"
#include "sim/schedule/stage.hpp"

namespace moesim {
namespace {

constexpr Time unknown{-1};

/// The state of a replay: how far each rank has come, and when each pass of each microbatch has ended.
class Replayer {
 public:
  Replayer(const Order& order, const PassDurations& durations)
      : order_(order), durations_(durations), stages_(order) {
    const auto cells = static_cast<std::size_t>(order.model_stages() * order.microbatches());
    forward_ends_.assign(cells, unknown);
    backward_ends_.assign(cells, unknown);
  }

  Replay run() {
    const std::size_t ranks = order_.ranks.size();
    std::vector<std::size_t> next(ranks);
    result_.starts.resize(ranks);
    result_.ends.resize(ranks);
    bool moved = true;
    while (moved) {
      moved = false;
      for (std::size_t r = 0; r < ranks; ++r) {
        while (next[r] < order_.ranks[r].size() && advance(r, next[r])) moved = true;
      }
    }
    for (std::size_t r = 0; r < ranks; ++r) {
      if (next[r] < order_.ranks[r].size()) {
        throw RunError(fmt::format("the order cannot finish: rank {} waits at its pass {} of {}", r, next[r],
                                   order_.ranks[r].size()));
      }
      if (!result_.ends[r].empty()) result_.makespan = std::max(result_.makespan, result_.ends[r].back());
    }
    return std::move(result_);
  }

 private:
  std::size_t cell(std::size_t stage, const Slot& slot) const {
    return stage * static_cast<std::size_t>(order_.microbatches()) +
           static_cast<std::size_t>(slot.microbatch);
  }

  /// When what the slot needs is there; unknown while it is not known.
  Time ready(std::size_t rank, const Slot& slot) const {
    const std::optional<Need> need = needs_in_stage(order_, stages_.stage_of(rank, slot), slot);
    if (!need) return Time{};
    const Time end = (need->is_gradient() ? backward_ends_ : forward_ends_)[cell(need->from_stage, slot)];
    if (end == unknown) return unknown;
    return need->crosses_ranks() ? end + durations_.send : end;
  }

  void finish(std::size_t rank, const Slot& slot, Time start, Time end) {
    if (slot.pass != Pass::backward_weight) {
      std::vector<Time>& ends = slot.pass == Pass::forward ? forward_ends_ : backward_ends_;
      ends[cell(stages_.stage_of(rank, slot), slot)] = end;
    }
    result_.starts[rank].push_back(start);
    result_.ends[rank].push_back(end);
  }

  bool advance(std::size_t rank, std::size_t& next) {
    const Slot& slot = order_.ranks[rank][next];
    Time start = ready(rank, slot);
    if (start == unknown) return false;
    if (!result_.ends[rank].empty()) start = std::max(start, result_.ends[rank].back());
    if (!slot.overlapped) {
      finish(rank, slot, start, start + duration_of(slot, durations_));
      ++next;
      return true;
    }
    const Slot& partner = order_.ranks[rank][next + 1];
    const Time partner_ready = ready(rank, partner);
    if (partner_ready == unknown) return false;
    start = std::max(start, partner_ready);
    finish(rank, slot, start, start + duration_of(slot, durations_));
    finish(rank, partner, start, start + duration_of(slot, durations_));
    next += 2;
    return true;
  }

  const Order& order_;
  PassDurations durations_;
  StageTable stages_;
  std::vector<Time> forward_ends_, backward_ends_;
  Replay result_;
};

}  // namespace

Time duration_of(const Slot& slot, const PassDurations& durations) {
  if (slot.overlapped) return durations.overlapped;
  switch (slot.pass) {
    case Pass::forward:
      return durations.forward;
    case Pass::backward:
      return durations.backward_input + durations.backward_weight;
    case Pass::backward_input:
      return durations.backward_input;
    case Pass::backward_weight:
      return durations.backward_weight;
  }
  return {};
}

Time Replay::longest_span() const {
  Time longest;
  for (std::size_t r = 0; r < starts.size(); ++r) {
    if (!starts[r].empty()) longest = std::max(longest, ends[r].back() - starts[r].front());
  }
  return longest;
}

Replay replay(const Order& order, const PassDurations& durations) { return Replayer(order, durations).run(); }

}  // namespace moesim
