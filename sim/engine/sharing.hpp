// Max-min fair sharing of resources among coflows, solved again only where something changed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/engine/occupants.hpp"
#include "sim/graph/task_graph.hpp"

namespace moesim {

/// The coflows whose bytes are moving, each in a slot that the caller chose, and the pace of each: the time
/// that all its bytes would take at its present rate.
class Sharing {
 public:
  explicit Sharing(const TaskGraph& graph);

  /// The bytes of a coflow begin to move; `slowed` where a member computes meanwhile.
  void join(std::uint32_t slot, PatternId pattern, bool slowed);
  /// The bytes of a coflow have all arrived.
  void leave(std::uint32_t slot);
  /// Members of a coflow have begun (true) or ceased (false) to compute.
  void set_slowed(std::uint32_t slot, bool slowed);
  /// Solves again each connected part in which something changed since the last call; answers its slots.
  std::span<const std::uint32_t> settle();
  RealTime pace(std::uint32_t slot) const { return {flows_[slot].pace}; }
  PatternId pattern(std::uint32_t slot) const { return flows_[slot].pattern; }

 private:
  struct Flow {
    PatternId pattern = nothing;  // nothing: the slot is no coflow whose bytes move
    std::uint32_t solved = 0;     // the last round that looked at it
    bool slowed = false;
    bool alone = false;    // nobody else is on its resources
    bool touched = false;  // in touched_
    double pace = 0;       // ps
  };
  // Of the connected part that is being solved:
  struct Member {
    std::uint32_t slot;
    std::uint32_t first_weight, weight_end;  // into weights_
    double flow_bytes;
    double shortest;  // ps, by all limits that it does not share with others
    bool frozen;
  };
  struct Contended {
    std::uint32_t resource;
    std::uint32_t flowing;  // members that are not frozen
    double left;            // share of the resource that frozen members leave
    double weight;          // of the members that are not frozen
  };
  struct Weight {
    std::uint32_t contended;
    double weight;
  };
  struct Level {
    double level;
    std::uint32_t index;  // a contended resource, or contended_.size() + a member: its own limit
  };

  void touch(std::uint32_t slot);
  double alone_pace(const Flow& flow) const;
  void solve(std::uint32_t slot);
  void collect(std::uint32_t slot);
  void include(std::uint32_t slot);
  void gather(std::size_t index);
  std::uint32_t contend(std::uint32_t resource);
  void fill();
  void list_levels();
  void saturate(std::uint32_t contended, double level);
  void freeze(Member& member, double level, double pace);
  void sink(std::size_t position, Level level);

  const TaskGraph& graph_;
  std::vector<RealTime> alone_;      // by pattern
  std::vector<RealTime> slowed_;     // by pattern, while a member computes
  std::vector<double> ps_per_byte_;  // by resource
  Occupants users_;                  // of resources
  std::vector<Flow> flows_;          // by slot
  std::vector<std::uint32_t> touched_, settled_;
  std::uint32_t round_ = 0;
  std::vector<std::uint32_t> contended_index_;  // by resource, valid where contended_ points back
  std::vector<std::uint32_t> member_index_;     // by slot, valid for slots in members_
  std::vector<Member> members_;
  std::vector<Contended> contended_;
  std::vector<Weight> weights_;
  std::vector<Level> levels_;  // a heap, lowest first
};

}  // namespace moesim
