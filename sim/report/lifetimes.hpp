// When the activations of a pipeline rank come and go: each act of its order keeps some or lets some go.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/layer/lifetimes.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// One of the ranks of an expert group.
struct ExpertPosition {
  std::int64_t group = 0, rank = 0;
};

/// A change of a rank's activations by an act of one of its slots.
struct HeldChange {
  std::size_t slot = 0;     ///< of the rank's order
  std::int64_t layer = -1;  ///< -1: an end of the model
  Activity block = Activity::none;
  Bytes bytes;  ///< more, or fewer
};

/// The activations that a rank holds at its worst, and on which of its devices.
struct HeldMost {
  Bytes bytes;
  Bytes gradients;  ///< beside them then, where they are held from when they are computed
  ExpertPosition position;
  Bytes total() const { return bytes + gradients; }
};

/// Of a scenario with a model; its work outlives them.
class Lifetimes {
 public:
  explicit Lifetimes(const Work& work);
  /// Of the device that holds most; of equals the first.
  HeldMost most(std::int64_t rank) const;
  /// All changes on one of its devices, in the order in which they are issued.
  std::vector<HeldChange> changes(std::int64_t rank, const ExpertPosition& position) const;

 private:
  /// A pass of a stage, or a pair of two, and what it comes to where all devices are alike.
  struct Played {
    std::vector<KeptChange> changes{};
    Swing swing{};
    bool is_first = false;  ///< of the backward passes of its stage: gradients begin to be
  };
  /// Slots that are issued together: one, or a pair.
  struct Issue {
    std::size_t slot = 0;    ///< of the rank's order
    std::size_t played = 0;  ///< into played_
  };

  void keep_layers();
  void keep_spans();
  Bytes units_in_backward(std::int64_t layer) const;
  Bytes gradients_of(Activity block, std::int64_t layer) const;
  void play_order();
  Kept kept_by(const KeptChange& change) const;
  Kept kept_by(const KeptChange& change, const Slot& slot, const ExpertPosition& position) const;
  /// The slot of a change among those issued together.
  static std::size_t slot_of(const Issue& issue, const KeptChange& change, const std::vector<Slot>& slots) {
    return issue.slot + (slots[issue.slot].overlapped && change.pass != Pass::forward ? 1 : 0);
  }
  HeldMost most(std::int64_t rank, const ExpertPosition& position) const;

  const Work& work_;
  const Scenario& scenario_;
  std::vector<std::array<Kept, 2>> layers_;  // by layer: attention, feed-forward
  Kept embedding_, head_;
  std::vector<Played> played_;
  std::vector<std::vector<Issue>> issues_;  // by rank
};

}  // namespace moesim
