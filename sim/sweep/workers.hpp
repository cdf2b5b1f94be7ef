// Who runs the points of a sweep: processes of this machine, or ranks of a cluster.
#pragma once

#include <cstddef>
#include <vector>

#include "sim/sweep/results.hpp"

namespace moesim {

/// What a worker came back with.
struct FinishedPoint {
  std::size_t point = 0;
  PointResult result;
  bool is_final = true;  ///< false: it was killed from outside, and may come to something else another time
};

/// Runs points of one sweep, several at a time. Ends what still runs when it is destroyed.
class Workers {
 public:
  virtual ~Workers() = default;
  /// Whether one more of the `left` points that wait should be handed over.
  virtual bool is_free(std::size_t left) const = 0;
  /// How many points are under way.
  virtual std::size_t count() const = 0;
  virtual void add(std::size_t point) = 0;
  /// Waits for points to finish, at most half a second or until a signal comes; may return none. Throws
  /// RunError where nobody is left to run any.
  virtual std::vector<FinishedPoint> wait() = 0;
};

}  // namespace moesim
