// The arithmetic is the fluid engine's (sim/engine/fluid.cpp), event by event, so that both come to the same
// picosecond: a law in tests/property/estimate_laws_test.cpp.
#include "sim/estimate/play.hpp"

#include <algorithm>

#include "models/base/error.hpp"

namespace moesim {
namespace {

constexpr std::size_t compute = 0, exchanges = 1, inside = 2;

std::size_t queue_of(const Act& act) {
  if (act.kind == ActKind::compute) return compute;
  return is_exchange(act.activity) ? exchanges : inside;
}

}  // namespace

Time ActPrice::alone(double pace) const {
  if (is_call) return time + rounded(RealTime{bytes});
  return pace == 1 ? time : scaled(time, pace);
}

void Play::begin(double pace) {
  pace_ = pace;
  now_ = {};
  tasks_.assign(1, {});
  done_.assign(1, 1);
  for (std::vector<std::uint32_t>& queue : queues_) queue.clear();
  heads_ = {};
  for (auto& lanes : lanes_) lanes.fill({none, none, none});
}

void Play::issue(std::size_t pass, const Priced& priced) {
  for (std::size_t i = 0; i < priced.acts.size(); ++i) {
    const Act& act = priced.acts[i];
    if (act.kind != ActKind::compute && act.kind != ActKind::call && act.kind != ActKind::join) continue;
    Behind behind = lanes_[pass][act.behind];
    if (act.also_behind != no_lane) {
      auto place = std::find(behind.begin(), behind.end(), none);
      for (const std::uint32_t task : lanes_[pass][act.also_behind]) {
        if (task == none) continue;
        ensure(place != behind.end(), "an act is behind three others at the most");
        *place++ = task;
      }
    }
    Behind& lane = lanes_[pass][act.lane];
    if (act.kind == ActKind::join) {
      lane = behind;
    } else {
      add(priced.prices[i], queue_of(act), behind, lane);
    }
  }
}

/// What takes no time is no task: its lane is then behind what it was behind.
void Play::add(const ActPrice& price, std::size_t queue, const Behind& behind, Behind& lane) {
  if (!price.is_call && price.time == Time{}) {
    lane = behind;
    return;
  }
  const auto number = static_cast<std::uint32_t>(tasks_.size());
  tasks_.push_back({price, behind});
  done_.push_back(0);
  if (!price.is_call) tasks_.back().price.time = price.alone(pace_);
  queues_[queue].push_back(number);
  lane = {number, none, none};
}

Time Play::end() {
  while (true) {
    for (std::size_t queue = 0; queue < queue_count;) {
      if (!can_start(queue)) {
        ++queue;
        continue;
      }
      start(queue);
      queue = 0;  // a call without time has ended, and others may start behind it
    }
    settle();
    const Head* next = nullptr;
    for (const Head& head : heads_) {
      if (head.runs && (next == nullptr || head.end < next->end)) next = &head;
    }
    if (next == nullptr) break;
    now_ = next->end;
    for (std::size_t queue = 0; queue < queue_count; ++queue) {
      if (heads_[queue].runs && heads_[queue].end == now_) finish(queue);
    }
  }
  ensure(!has_head(compute) && !has_head(exchanges) && !has_head(inside),
         "acts of a program wait for earlier ones only");
  return now_;
}

void Play::start(std::size_t queue) {
  Head& head = heads_[queue];
  const ActPrice& price = task(queue).price;
  head.runs = true;
  head.moves = queue == compute;
  head.done = 0;
  head.pace = -1;
  if (queue == compute) return;
  head.end = now_ + price.time;
  if (price.time == Time{}) finish(queue);
}

/// Compute, the latency of a call or its bytes are over.
void Play::finish(std::size_t queue) {
  Head& head = heads_[queue];
  if (queue != compute && !head.moves && task(queue).price.bytes > 0) {
    head.moves = true;
    return;
  }
  done_[queues_[queue][head.next]] = 1;
  ++head.next;
  head.runs = false;
}

bool Play::holds_multiprocessors(std::size_t queue) const {
  return heads_[queue].runs && task(queue).price.holds_multiprocessors;
}

/// Brings the speeds of what runs in line with what has changed in this instant.
void Play::settle() {
  Head& computing = heads_[compute];
  if (computing.runs) {
    const ActPrice& price = task(compute).price;
    const auto alone = static_cast<double>(price.time.count);
    const bool is_held = holds_multiprocessors(exchanges) || holds_multiprocessors(inside);
    set_pace(computing, is_held && price.slowdown > 1 ? alone * static_cast<double>(price.slowdown) : alone);
  }
  for (const std::size_t queue : {exchanges, inside}) {
    if (!heads_[queue].runs || !heads_[queue].moves) continue;
    const ActPrice& price = task(queue).price;
    set_pace(heads_[queue], computing.runs ? price.slowed : price.bytes);
  }
}

void Play::set_pace(Head& head, double pace) const {
  if (head.pace == pace) return;
  if (head.pace >= 0) head.done += static_cast<double>((now_ - head.since).count) / head.pace;
  head.since = now_;
  head.pace = pace;
  head.end = now_ + rounded(RealTime{(1 - head.done) * pace});
}

}  // namespace moesim
