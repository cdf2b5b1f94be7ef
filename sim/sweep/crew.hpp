// Workers on this machine: a process for each point, so that one that crashes takes nothing with it.
#pragma once

#include <sys/types.h>

#include <string>

#include "sim/sweep/sweep_plan.hpp"
#include "sim/sweep/workers.hpp"

namespace moesim {

/// Processes that end with the sweep, however it ends.
class Crew final : public Workers {
 public:
  /// Of a plan that outlives it; `jobs` points at a time.
  Crew(const SweepPlan& plan, unsigned jobs) : plan_(plan), jobs_(jobs) {}
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  ~Crew() override;

  bool is_free(std::size_t) const override { return children_.size() < jobs_; }
  std::size_t count() const override { return children_.size(); }
  void add(std::size_t point) override;
  std::vector<FinishedPoint> wait() override { return wait_beside(-1, 500); }
  /// The same, but also back as soon as `stream` has something to read; -1: as long as it takes.
  std::vector<FinishedPoint> wait_beside(int stream, int milliseconds);

 private:
  /// A process that works on one point; it says three texts and ends.
  struct Child {
    pid_t process = 0;
    int stream = -1;
    std::size_t point = 0;
    std::string heard{};
  };
  FinishedPoint judge(Child& child) const;

  const SweepPlan& plan_;
  std::size_t jobs_;
  std::vector<Child> children_;
};

/// Ends this process when the one that made it, `parent`, ends. For the first lines of a child.
void end_with(pid_t parent);

}  // namespace moesim
