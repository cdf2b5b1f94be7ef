// A queue of events, earliest first, for many that wait at a time: a small heap of what comes soon, behind it
// a rung of buckets, each with the events of a short span in any order, behind that all others. An event is
// moved twice before it is due, whatever the number that waits. After Tang, Goh and Thng, Ladder Queue (ACM
// TOMACS 15(3), 2005). The order is that of EventQueue: it does not depend on how events lie.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>

#include "sim/engine/event_queue.hpp"

namespace moesim {

/// A queue whose events stay as they are.
class EventLadder {
 public:
  bool empty() const { return near_.empty(); }  // and then nothing is behind it
  const Event& top() const { return near_.top(); }

  void push(const Event& event) {
    if (event.time < near_end_) {
      near_.push(event);
      if (near_.size() > crowd_) spread();
    } else if (event.time < rung_end_) {
      rung_[bucket_of(event)].push_back(event);
    } else {
      far_.push_back(event);
    }
  }

  void pop() {
    near_.pop();
    if (near_.empty()) refill();
  }

 private:
  static constexpr std::size_t few = 64;  // events that a heap alone serves best
  static constexpr std::size_t most_buckets = 4096;
  static constexpr Time never{std::numeric_limits<std::int64_t>::max()};

  std::size_t bucket_of(const Event& event) const {
    return static_cast<std::size_t>((event.time - rung_begin_).count >> shift_);
  }
  Time begin_of(std::size_t bucket) const {
    const auto offset = static_cast<std::uint64_t>(bucket) << shift_;
    const bool is_beyond = offset >= static_cast<std::uint64_t>((never - rung_begin_).count);
    return is_beyond ? never : rung_begin_ + Time{static_cast<std::int64_t>(offset)};
  }

  /// Brings the next events near.
  void refill() {
    for (; next_bucket_ < bucket_count_; ++next_bucket_) {
      std::vector<Event>& bucket = rung_[next_bucket_];
      if (bucket.empty()) continue;
      near_end_ = begin_of(++next_bucket_);
      return take(bucket);
    }
    if (far_.size() > few) {
      lay_rung();
      return refill();
    }
    near_end_ = rung_end_ = never;
    take(far_);
  }

  void take(std::vector<Event>& events) {
    for (const Event& event : events) near_.push(event);
    events.clear();
    crowd_ = std::max(2 * few, 2 * near_.size());
  }

  /// Too many are near: lays all out anew.
  void spread() {
    for (; !near_.empty(); near_.pop()) far_.push_back(near_.top());
    for (; next_bucket_ < bucket_count_; ++next_bucket_) {
      std::vector<Event>& bucket = rung_[next_bucket_];
      far_.insert(far_.end(), bucket.begin(), bucket.end());
      bucket.clear();
    }
    refill();
  }

  /// Buckets for about twice the time in which the nearer half of the far events lies; what is later stays
  /// far.
  void lay_rung() {
    const auto is_earlier = [](const Event& a, const Event& b) { return a.time < b.time; };
    const auto middle = far_.begin() + static_cast<std::ptrdiff_t>(far_.size() / 2);
    std::nth_element(far_.begin(), middle, far_.end(), is_earlier);
    rung_begin_ = std::min_element(far_.begin(), middle, is_earlier)->time;
    const auto span = 2 * static_cast<std::uint64_t>((middle->time - rung_begin_).count) + 1;
    bucket_count_ = std::min(most_buckets, std::bit_ceil(far_.size() / 4));
    shift_ = static_cast<int>(std::bit_width(span / bucket_count_));
    next_bucket_ = 0;
    if (rung_.size() < bucket_count_) rung_.resize(bucket_count_);
    rung_end_ = begin_of(bucket_count_);
    std::size_t kept = 0;
    for (const Event& event : far_) {
      if (event.time < rung_end_) {
        rung_[bucket_of(event)].push_back(event);
      } else {
        far_[kept++] = event;
      }
    }
    far_.resize(kept);
  }

  EventQueue<false> near_;                // before near_end_
  std::vector<std::vector<Event>> rung_;  // before rung_end_; used: those from next_bucket_ to bucket_count_
  std::vector<Event> far_;                // all others
  Time near_end_ = never, rung_begin_, rung_end_ = never;
  std::size_t next_bucket_ = 0, bucket_count_ = 0;
  std::size_t crowd_ = 2 * few;  // more near events than that are too many
  int shift_ = 0;
};

}  // namespace moesim
