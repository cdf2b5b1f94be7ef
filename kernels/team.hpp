// The GPUs that measure together: all of this machine, or under MPI one of each process.
#pragma once

#include <functional>
#include <vector>

#include "device.hpp"
#include "gate.hpp"
#include "processes.hpp"

namespace measure {

/// One GPU of this process, with buffers of equal size.
struct Rank {
  int number = 0, device = 0;
  cudaStream_t stream{};
  cudaEvent_t begin{}, end{};
  Buffer in, out;
};

class Team {
 public:
  /// `urgent`: its streams go before others of their devices.
  Team(const Processes& processes, std::size_t bytes, bool urgent = false);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  const std::vector<Rank>& own() const { return own_; }
  int ranks() const { return ranks_; }
  std::size_t bytes() const { return own_.front().in.size(); }
  const Processes& processes() const { return processes_; }
  /// Seconds of a round on the slowest rank of all, the median of several times as many rounds as take some
  /// milliseconds. `round` launches one on every rank of this process; all rounds are launched before the
  /// devices begin, so that the host's time does not count; `at_once`: not for rounds that make the host
  /// wait.
  double time(const std::function<void()>& round, bool at_once = false) const;
  void finish() const;  ///< waits for all devices of this process

 private:
  double sample(const std::function<void()>& round, int count, bool at_once) const;

  const Processes& processes_;
  std::vector<Rank> own_;
  int ranks_ = 0, device_ = 0;  ///< device_: what was current before
  Gate gate_;
};

}  // namespace measure
