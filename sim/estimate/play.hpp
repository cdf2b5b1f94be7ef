// Programs played by themselves on one rank: queues of compute, of exchanges and of communication inside
// blocks, each in order, as the fluid engine has them where nobody else is on the links. Where calls of both
// queues run at a time they are taken to have links of their own.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/base/units.hpp"
#include "sim/layer/program.hpp"

namespace moesim {

/// What an act takes by itself and what others make of it. Acts that take no time of their own have none.
struct ActPrice {
  Time time;           ///< of compute; of a call its latency
  double bytes = 0;    ///< of a call: picoseconds that its bytes take after the latency
  double slowed = 0;   ///< the same while the rank computes
  double sent = 0;     ///< of a call: bytes that the rank sends
  float slowdown = 1;  ///< of compute: how much longer while a call holds multiprocessors
  bool is_call = false, holds_multiprocessors = false;
  /// With nothing beside it, where compute takes `pace` times as long.
  Time alone(double pace = 1) const;
  friend bool operator==(const ActPrice&, const ActPrice&) = default;
};

/// Acts and what each takes, act by act.
struct Priced {
  std::span<const Act> acts;
  std::span<const ActPrice> prices;
};

/// A play of one or two passes. The room is kept from one play to the next.
class Play {
 public:
  /// Nothing has been issued; compute takes `pace` times as long as it is priced.
  void begin(double pace = 1);
  /// The rank issues these acts of one of two passes.
  void issue(std::size_t pass, const Priced& priced);
  /// The time until all of it has ended.
  Time end();

 private:
  static constexpr std::uint32_t none = 0;  ///< a task that has always been done
  /// What an act is behind; each entry a task or none.
  using Behind = std::array<std::uint32_t, 3>;
  struct Task {
    ActPrice price;
    Behind behind;
  };
  /// The head of a queue.
  struct Head {
    std::size_t next = 0;  ///< into queues_
    bool runs = false;
    bool moves = false;  ///< its speed can change: of a call its bytes
    double done = 0, pace = -1;
    Time since, end;
  };

  static constexpr std::size_t queue_count = 3;

  void add(const ActPrice& price, std::size_t queue, const Behind& behind, Behind& lane);
  const Task& task(std::size_t queue) const { return tasks_[queues_[queue][heads_[queue].next]]; }
  bool has_head(std::size_t queue) const { return heads_[queue].next < queues_[queue].size(); }
  bool can_start(std::size_t queue) const {
    if (!has_head(queue) || heads_[queue].runs) return false;
    const Behind& behind = task(queue).behind;
    return (done_[behind[0]] & done_[behind[1]] & done_[behind[2]]) != 0;
  }
  void start(std::size_t queue);
  void finish(std::size_t queue);
  void settle();
  bool holds_multiprocessors(std::size_t queue) const;
  void set_pace(Head& head, double pace) const;

  double pace_ = 1;
  Time now_;
  std::vector<Task> tasks_;
  std::vector<std::uint8_t> done_;                              // by task
  std::array<std::vector<std::uint32_t>, queue_count> queues_;  // compute, exchanges, calls inside blocks
  std::array<Head, queue_count> heads_;
  std::array<std::array<Behind, lane_count>, 2> lanes_;  // by pass
};

}  // namespace moesim
