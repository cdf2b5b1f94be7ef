// What goes on at each actor, as far as it changes the speed of others: compute there, and communication
// kernels that hold its multiprocessors.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/engine/occupants.hpp"
#include "sim/graph/task_graph.hpp"

namespace moesim {

/// The actors of a graph. What changes within an instant becomes visible when the engine settles it.
class Actors {
 public:
  explicit Actors(const TaskGraph& graph)
      : states_(graph.actor_count), computes(graph.actor_count), coflows(graph.actor_count) {
    for (const Pattern& pattern : graph.pattern_table) {
      for (const ActorId actor : graph.members_of(pattern)) {
        if (pattern.holds_multiprocessors) states_[actor].may_be_held = true;
        if (pattern.slowdown > 1) states_[actor].slows = true;
      }
    }
  }

  bool may_be_held(ActorId actor) const { return states_[actor].may_be_held; }  ///< by some pattern
  bool slows(ActorId actor) const { return states_[actor].slows; }      ///< some pattern, while it computes
  bool is_held(ActorId actor) const { return states_[actor].is_held; }  ///< as of the last settling
  bool is_busy(ActorId actor) const { return states_[actor].is_busy; }  ///< as of the last settling

  void begin_compute(ActorId actor) { touch(actor), ++states_[actor].computing; }
  void end_compute(ActorId actor) { touch(actor), --states_[actor].computing; }
  void hold(ActorId actor) { touch(actor), ++states_[actor].holders; }
  void release(ActorId actor) { touch(actor), --states_[actor].holders; }

  /// Calls held_changed(actor) and busy_changed(actor) for actors that differ from the last settling.
  template <class HeldChanged, class BusyChanged>
  void settle(HeldChanged held_changed, BusyChanged busy_changed) {
    for (const ActorId actor : touched_) {
      State& state = states_[actor];
      state.touched = false;
      const bool was_held = state.is_held, was_busy = state.is_busy;
      state.is_held = state.holders > 0;
      state.is_busy = state.computing > 0;
      if (state.is_held != was_held) held_changed(actor);
      if (state.is_busy != was_busy) busy_changed(actor);
    }
    touched_.clear();
  }

 private:
  struct State {
    std::uint32_t computing = 0, holders = 0;
    bool is_held = false, is_busy = false, touched = false;
    bool may_be_held = false, slows = false;
  };

  void touch(ActorId actor) {
    if (states_[actor].touched) return;
    states_[actor].touched = true;
    touched_.push_back(actor);
  }

  std::vector<State> states_;
  std::vector<ActorId> touched_;

 public:
  Occupants computes;  ///< slots of compute tasks whose speed can change, by actor
  Occupants coflows;   ///< slots of coflows with moving bytes that compute slows, by actor
};

}  // namespace moesim
