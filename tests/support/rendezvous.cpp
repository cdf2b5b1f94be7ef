#include "tests/support/rendezvous.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "sim/schedule/stage.hpp"

namespace moesim::testing {
namespace {

/// A pass, or two that overlap: nothing is sent or received inside.
struct Step {
  std::vector<Slot> slots;
  Time start, end;
};

/// Boundary b of a rank lies before its step b.
struct Message {
  std::size_t sender = 0, sent_at = 0, receiver = 0, received_at = 0;
};

class Rendezvous {
 public:
  Rendezvous(const Order& order, const Replay& times) : order_(order), steps_(order.ranks.size()) {
    for (std::size_t r = 0; r < steps_.size(); ++r) {
      const std::vector<Slot>& slots = order.ranks[r];
      for (std::size_t i = 0; i < slots.size(); ++i) {
        if (i == 0 || !slots[i - 1].overlapped)
          steps_[r].push_back({{}, times.starts[r][i], times.ends[r][i]});
        steps_[r].back().slots.push_back(slots[i]);
        if (slots[i].pass != Pass::backward_weight)
          made_at_[key(stage_of(order, static_cast<std::int64_t>(r), slots[i]), slots[i])] = {
              r, steps_[r].size()};
      }
    }
  }

  bool ends(Receives receives) {
    for (std::size_t r = 0; r < steps_.size(); ++r) {
      for (std::size_t b = 0; b < steps_[r].size(); ++b) {
        for (const Slot& slot : steps_[r][b].slots) add_message(r, b, slot, receives);
      }
    }
    batches_.resize(steps_.size());
    for (std::size_t r = 0; r < steps_.size(); ++r) batches_[r].resize(steps_[r].size() + 1);
    for (const Message& message : messages_) {
      batches_[message.sender][message.sent_at].push_back(message);
      batches_[message.receiver][message.received_at].push_back(message);
    }
    return go_on_until_stuck();
  }

 private:
  using Key = std::tuple<bool, std::uint8_t, std::size_t, std::int32_t>;

  Key key(std::size_t stage, const Slot& slot) const {
    return {slot.pass == Pass::forward, order_.chain_of_microbatch[static_cast<std::size_t>(slot.microbatch)],
            stage, slot.microbatch};
  }

  void add_message(std::size_t rank, std::size_t boundary, const Slot& slot, Receives receives) {
    const std::optional<Need> need = needs_of(order_, static_cast<std::int64_t>(rank), slot);
    if (!need || !need->crosses_ranks()) return;
    const auto [sender, sent_at] = made_at_.at(key(need->from_stage, slot));
    const Time made = steps_[sender][sent_at - 1].end;
    if (receives == Receives::when_sent) {
      while (boundary > 0 && steps_[rank][boundary - 1].start >= made) --boundary;
    }
    messages_.push_back({sender, sent_at, rank, boundary});
  }

  bool go_on_until_stuck() const {
    std::vector<std::size_t> at(steps_.size());
    const auto through = [&](const Message& message) {
      return at[message.sender] >= message.sent_at && at[message.receiver] >= message.received_at;
    };
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t r = 0; r < steps_.size(); ++r) {
        while (at[r] < steps_[r].size() &&
               std::all_of(batches_[r][at[r]].begin(), batches_[r][at[r]].end(), through)) {
          ++at[r];
          moved = true;
        }
      }
    }
    for (std::size_t r = 0; r < steps_.size(); ++r) {
      if (at[r] < steps_[r].size()) return false;
      if (!std::all_of(batches_[r][at[r]].begin(), batches_[r][at[r]].end(), through)) return false;
    }
    return true;
  }

  const Order& order_;
  std::vector<std::vector<Step>> steps_;
  std::map<Key, std::pair<std::size_t, std::size_t>> made_at_;  // rank and the boundary after the pass
  std::vector<Message> messages_;
  std::vector<std::vector<std::vector<Message>>> batches_;  // by rank and boundary
};

}  // namespace

bool ends_with_blocking_sends(const Order& order, const Replay& times, Receives receives) {
  return Rendezvous(order, times).ends(receives);
}

}  // namespace moesim::testing
