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
  /// Solves again each connected part in which something changed since the last call; returns its slots.
  std::span<const std::uint32_t> settle();
  RealTime pace(std::uint32_t slot) const { return {flows_[slot].pace}; }
  PatternId pattern(std::uint32_t slot) const { return flows_[slot].pattern; }

 private:
  /// What a coflow wants of a resource: constant while its bytes move.
  struct Claim {
    std::uint32_t resource;
    double need;    // ps that its bytes keep the resource busy
    double weight;  // ps for each byte of one of its flows
  };
  struct Flow {
    double pace = 0;  // ps
    double flow_bytes = 0;
    double shortest = 0;            // ps, by all limits that it does not share with others
    const Claim* claims = nullptr;  // once it has met others
    std::uint32_t claim_count = 0;
    PatternId pattern = nothing;  // nothing: the slot is no coflow whose bytes move
    std::uint32_t solved = 0;     // the last round that looked at it
    bool slowed = false;
    bool alone = false;    // nobody else is on its resources
    bool touched = false;  // in touched_
    bool frozen = false;
    std::span<const Claim> all_claims() const { return {claims, claim_count}; }
  };
  // Of the connected part that is being solved:
  struct Contended {
    std::uint32_t round = 0;  // of which the rest is
    std::uint32_t flowing;    // members that are not frozen
    double left;              // share of the resource that frozen members leave
    double weight;            // of the members that are not frozen
  };
  struct Level {
    double level;
    std::uint32_t index;  // into contended_, or behind those into members_: its own limit
  };

  void touch(std::uint32_t slot);
  double alone_pace(const Flow& flow) const;
  void solve(std::uint32_t slot);
  void collect(std::uint32_t slot);
  void include(std::uint32_t slot);
  void weigh(std::uint32_t slot);
  void gather(std::uint32_t slot);
  void contend(std::uint32_t resource);
  void fill();
  void list_levels();
  void saturate(std::uint32_t resource, double level);
  void freeze(Flow& member, double level, double pace);
  void sink(std::size_t position, Level level);

  const TaskGraph& graph_;
  std::vector<RealTime> alone_;             // by pattern
  std::vector<RealTime> slowed_;            // by pattern, while a member computes
  std::vector<double> ps_per_byte_;         // by resource
  Occupants users_;                         // of resources
  std::vector<Flow> flows_;                 // by slot
  std::vector<std::vector<Claim>> claims_;  // by slot; the room is kept
  std::vector<std::uint32_t> touched_, settled_;
  std::uint32_t round_ = 0;
  std::vector<std::uint32_t> members_;  // slots
  std::vector<Contended> resources_;
  std::vector<std::uint32_t> contended_;  // resources, in the order in which they were found
  std::vector<Level> levels_;             // a heap, lowest first
};

}  // namespace moesim
