// A queue of events, earliest first: a heap of four children a node, which is shallower than a binary one and
// reads the children from one or two cache lines. Events of one instant come in the order of their tasks.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/graph/task_graph.hpp"

namespace moesim {

/// Something that ends at a time: a task, and the slot in which the engine keeps it, if any.
struct Event {
  Time time;
  TaskId task = nothing;
  std::uint32_t slot = nothing;
};

/// The total order of events.
inline bool is_before(const Event& a, const Event& b) {
  return (a.time.count < b.time.count) | ((a.time.count == b.time.count) & (a.task < b.task));
}

/// A queue. If `movable`, it holds at most one event a slot, and knows where.
template <bool movable>
class EventQueue {
 public:
  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  const Event& top() const { return heap_.front(); }

  void push(const Event& event) {
    heap_.push_back(event);
    if constexpr (movable) {
      if (event.slot >= positions_.size()) positions_.resize(event.slot + 1, nothing);
    }
    rise(heap_.size() - 1, event);
  }

  void pop() {
    if constexpr (movable) positions_[heap_.front().slot] = nothing;
    const Event last = heap_.back();
    heap_.pop_back();
    if (!heap_.empty()) sink(0, last);
  }

  /// Sets the slot's event, whether there is one or not.
  void set(const Event& event) requires movable {
    if (event.slot >= positions_.size() || positions_[event.slot] == nothing) return push(event);
    const std::size_t position = positions_[event.slot];
    if (is_before(event, heap_[position])) {
      rise(position, event);
    } else {
      sink(position, event);
    }
  }

 private:
  void place(std::size_t position, const Event& event) {
    heap_[position] = event;
    if constexpr (movable) positions_[event.slot] = static_cast<std::uint32_t>(position);
  }

  void rise(std::size_t position, const Event event) {
    while (position > 0) {
      const std::size_t parent = (position - 1) / 4;
      if (!is_before(event, heap_[parent])) break;
      place(position, heap_[parent]);
      position = parent;
    }
    place(position, event);
  }

  void sink(std::size_t position, const Event event) {
    while (4 * position + 1 < heap_.size()) {
      const std::size_t best = first_of_four(4 * position + 1);
      if (!is_before(heap_[best], event)) break;
      place(position, heap_[best]);
      position = best;
    }
    place(position, event);
  }

  /// The earliest of up to four children. Which one is a matter of chance, so the usual case does not branch
  /// on it.
  std::size_t first_of_four(std::size_t child) const {
    if (child + 4 <= heap_.size()) {
      const std::size_t left = child + is_before(heap_[child + 1], heap_[child]);
      const std::size_t right = child + 2 + is_before(heap_[child + 3], heap_[child + 2]);
      return left + (right - left) * is_before(heap_[right], heap_[left]);
    }
    std::size_t best = child;
    for (std::size_t next = child + 1; next < heap_.size(); ++next) {
      if (is_before(heap_[next], heap_[best])) best = next;
    }
    return best;
  }

  std::vector<Event> heap_;
  std::vector<std::uint32_t> positions_;  // of the slots' events in the heap
};

}  // namespace moesim
