#include "sim/schedule/messages.hpp"

#include <algorithm>
#include <optional>

#include "models/base/at.hpp"
#include "models/base/error.hpp"

namespace moesim {
namespace {

class Turns {
 public:
  explicit Turns(const Order& order) : order_(order), next_(order.ranks.size()) {
    const auto rows = static_cast<std::size_t>(2 * order.model_stages() * order.microbatches());
    is_there_.resize(rows);
  }

  std::vector<StageMessage> all() {
    while (true) {
      bool goes_on = false;
      for (std::size_t rank = 0; rank < next_.size(); ++rank) goes_on = take_turn(rank) || goes_on;
      if (!goes_on) break;
    }
    for (std::size_t rank = 0; rank < next_.size(); ++rank)
      if (next_[rank] < order_.ranks[rank].size())
        throw RunError("ranks of the schedule wait for each other");
    return std::move(messages_);
  }

 private:
  /// The rank's next slot, or two that overlap, if what they need is there.
  bool take_turn(std::size_t rank) {
    const std::vector<Slot>& slots = order_.ranks[rank];
    const std::size_t first = next_[rank];
    if (first == slots.size()) return false;
    const std::size_t last = first + (slots[first].overlapped ? 1 : 0);
    for (std::size_t i = first; i <= last; ++i)
      if (!is_ready(rank, slots[i])) return false;
    next_[rank] = last + 1;
    for (std::size_t i = first; i <= last; ++i) send(rank, slots[i]);
    return true;
  }

  bool is_ready(std::size_t rank, const Slot& slot) const {
    const std::optional<Need> need = needs_of(order_, static_cast<std::int64_t>(rank), slot);
    return !need || !need->crosses_stages() || is_there_[row(*need)];
  }

  void send(std::size_t rank, const Slot& slot) {
    const std::optional<Need> served = served_by(order_, static_cast<std::int64_t>(rank), slot);
    if (!served || !served->crosses_stages()) return;
    is_there_[row(*served)] = true;
    if (served->crosses_ranks()) messages_.push_back({*served, at(next_, served->to.rank)});
  }

  std::size_t row(const Need& need) const {
    const auto stages = static_cast<std::size_t>(order_.model_stages());
    return ((need.is_gradient() ? stages : 0) + need.to_stage) *
               static_cast<std::size_t>(order_.microbatches()) +
           static_cast<std::size_t>(need.microbatch);
  }

  const Order& order_;
  std::vector<std::size_t> next_;  // slot of each rank
  std::vector<bool> is_there_;     // what a stage needs of the one before or behind
  std::vector<StageMessage> messages_;
};

}  // namespace

std::vector<StageMessage> messages_in_turn(const Order& order) { return Turns(order).all(); }

}  // namespace moesim
