// A sweep over ranks: the first hands out points as ranks come free, and is the only one to keep results.
#pragma once

#include <set>
#include <vector>

#include "sim/sweep/foreman.hpp"
#include "sim/sweep/ranks.hpp"
#include "sim/sweep/workers.hpp"

namespace moesim {

/// The other side of a fleet, of every rank but the first: runs what it is given until it is told to end.
/// Signals are left to the first rank.
void serve_fleet(const Ranks& ranks, Foreman& foreman);

/// All ranks, seen from the first, which runs points as well.
class Fleet final : public Workers {
 public:
  Fleet(const Ranks& ranks, Foreman& foreman, unsigned jobs);
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;
  ~Fleet() override;  ///< tells the others to end

  /// Gives everyone the scenario. Throws RunError where a rank cannot read it or finds other files of parts.
  void begin(const SweepPlan& plan);
  /// A rank takes one point more than it runs at a time, until the last points are handed out.
  bool is_free(std::size_t left) const override;
  std::size_t count() const override;
  void add(std::size_t point) override;
  std::vector<FinishedPoint> wait() override;

 private:
  struct Member {
    std::set<std::size_t> points;  ///< that it has and has not finished
    bool is_lost = false;
  };
  std::optional<Letter> hear(int milliseconds);
  std::optional<Letter> look(int milliseconds);
  /// A finished point, or the end of a member, whose points others get.
  void take(const Letter& letter, std::vector<FinishedPoint>& finished);
  /// Gives the points of a member that has ended to others. Throws RunError where none is left.
  void lose(std::size_t member);
  std::size_t room(std::size_t left) const;
  /// The member with the least to do.
  std::size_t freest() const;
  void tell(std::size_t member, const std::string& text);

  const Ranks& ranks_;
  Foreman& foreman_;
  std::size_t jobs_;
  int pause_ = 1;  ///< milliseconds between looks, longer while nothing happens
  std::vector<Member> members_;
};

}  // namespace moesim
