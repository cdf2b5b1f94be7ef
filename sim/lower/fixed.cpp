#include "sim/lower/fixed.hpp"

#include "models/base/at.hpp"
#include "sim/schedule/stage.hpp"

namespace moesim {
namespace {

class FixedLowering {
 public:
  FixedLowering(const Order& order, const PassDurations& durations)
      : order_(order), durations_(durations), builder_(static_cast<std::uint32_t>(order.ranks.size())) {
    arrivals_.assign(static_cast<std::size_t>(2 * order.model_stages() * order.microbatches()), nothing);
    for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) {
      const auto receiver = static_cast<ActorId>(rank);
      Pattern send;
      send.latency = durations.send;
      send.messages = 1;
      sends_to_.push_back(builder_.add_pattern(send, {}, {&receiver, 1}));
    }
  }

  TaskGraph lower() {
    for (std::size_t rank = 0; rank < order_.ranks.size(); ++rank) {
      TaskId last = nothing;
      const std::vector<Slot>& slots = order_.ranks[rank];
      for (std::size_t i = 0; i < slots.size(); ++i) {
        const bool pair = slots[i].overlapped;
        const TaskId task = builder_.add_compute(static_cast<ActorId>(rank),
                                                 duration_of(slots[i], durations_), 1, tag(rank, slots[i]));
        builder_.add_edge(last, task);
        connect(rank, slots[i], task);
        if (pair) connect(rank, slots[++i], task);
        last = task;
      }
    }
    return std::move(builder_).finish({});
  }

 private:
  static Tag tag(std::size_t rank, const Slot& slot) {
    static constexpr PassKind kinds[] = {PassKind::forward, PassKind::backward, PassKind::backward_input,
                                         PassKind::backward_weight};
    return {.microbatch = slot.microbatch,
            .pipeline_rank = static_cast<std::int16_t>(rank),
            .chunk = static_cast<std::int8_t>(slot.chunk),
            .activity = Activity::whole_pass,
            .pass = at(kinds, slot.pass),
            .overlapped = slot.overlapped};
  }

  /// The task waits for what the pass needs from other stages, and what it makes goes there.
  void connect(std::size_t rank, const Slot& slot, TaskId task) {
    const auto index = static_cast<std::int64_t>(rank);
    const std::optional<Need> need = needs_of(order_, index, slot);
    if (need && need->crosses_stages()) builder_.add_edge(arrival(*need), task);
    if (const std::optional<Need> served = served_by(order_, index, slot))
      builder_.add_edge(task, arrival(*served));
  }

  TaskId arrival(const Need& need) {
    const auto stages = static_cast<std::size_t>(order_.model_stages());
    const std::size_t row = (need.is_gradient() ? stages : 0) + need.to_stage;
    TaskId& task = arrivals_[row * static_cast<std::size_t>(order_.microbatches()) +
                             static_cast<std::size_t>(need.microbatch)];
    if (task != nothing) return task;
    if (!need.crosses_ranks() || durations_.send == Time{}) return task = builder_.add_barrier();
    return task = builder_.add_coflow(
               at(sends_to_, need.to.rank),
               {.microbatch = need.microbatch,
                .pipeline_rank = static_cast<std::int16_t>(need.to.rank),
                .chunk = static_cast<std::int8_t>(need.to.chunk),
                .activity = Activity::pipeline,
                .pass = need.is_gradient() ? PassKind::backward_input : PassKind::forward});
  }

  const Order& order_;
  PassDurations durations_;
  GraphBuilder builder_;
  std::vector<TaskId> arrivals_;
  std::vector<PatternId> sends_to_;
};

}  // namespace

TaskGraph lower_fixed(const Order& order, const PassDurations& durations) {
  return FixedLowering(order, durations).lower();
}

}  // namespace moesim
