// What passes keep between forward and backward, act by act, in the order in which a rank issues them: that
// is when caching allocators allocate and release, whatever the times. A block's bytes are there from its
// first act in a forward to its last one in the pass that lets them go.
#pragma once

#include <algorithm>
#include <cstdint>

#include "models/base/units.hpp"
#include "sim/layer/issue.hpp"
#include "sim/work/share.hpp"

namespace moesim {

/// A block of a layer, or an end of the model, of which an act keeps something or lets it go.
struct KeptChange {
  Pass pass = Pass::forward;
  std::int64_t layer = -1;  ///< -1: an end of the model
  Activity block = Activity::none;
  bool again = false;      ///< KeptBlock::again
  std::int64_t place = 0;  ///< of the layer in its stage
};

/// Visits the changes of one program that is issued, or of a segment of it.
template <class Visit>
void visit_changes_of(const Issued& issued, const Program& program, Pass pass, Visit visit) {
  for (const KeptBlock& kept : program.kept) {
    if (!issued.segment || kept.segment == *issued.segment)
      visit(KeptChange{pass, issued.layer, kept.block, kept.again, issued.place});
  }
}

/// All changes of a pass that has the rank to itself, in their order. `programs` returns those of what is
/// issued.
template <class ProgramsOf, class Visit>
void visit_changes(const StageContent& stage, Pass pass, ProgramsOf programs, Visit visit) {
  visit_issued(stage, pass, [&](const Issued& issued) {
    visit_changes_of(issued, programs(issued).of(pass), pass, visit);
  });
}

/// The same of a forward beside a full backward.
template <class ProgramsOf, class Visit>
void visit_changes_by_pair(const StageContent& forward, const StageContent& backward, ProgramsOf programs,
                           Visit visit) {
  visit_issued_by_pair(forward, backward, [&](const Issued& issued) {
    const Pass pass = issued.is_backward ? Pass::backward : Pass::forward;
    visit_changes_of(issued, programs(issued).of_pair(issued.is_backward), pass, visit);
  });
}

/// What a pass changes of a block that keeps so much. Where input and weight gradients are one pass, nothing
/// is kept from one to the other beside what forward kept.
Bytes change_by(Pass pass, const Kept& kept);

/// What changes in a row make of the bytes that are held, over those before.
struct Swing {
  Bytes most;  ///< at the worst moment; zero where they never rise
  Bytes end;
  // Of these, gradients of weights.
  Bytes gradients_at_most{}, gradients{};
  void add(Bytes change) { add(Swing{std::max(change, Bytes{}), change}); }
  void add(const Swing& next) {
    if (end + next.most > most) {
      most = end + next.most;
      gradients_at_most = gradients + next.gradients_at_most;
    }
    end += next.end;
    gradients += next.gradients;
  }
};

/// Kept::span of the layer with that place in a stage of so many, where `recomputed` tells what another of
/// them holds once it has been computed again.
template <class Of>
auto held_by_span(const Recompute& recompute, std::int64_t place, std::int64_t layers, Of recomputed) {
  decltype(recomputed(place)) held{};
  if (recompute.method != RecomputeMethod::uniform) return held;
  const bool is_last = place % recompute.layers == recompute.layers - 1 || place == layers - 1;
  if (!is_last) return held - recomputed(place);
  for (std::int64_t before = place - place % recompute.layers; before < place; ++before)
    held += recomputed(before);
  return held;
}

/// The same with what is held while the block's kernels run, and what is computed again.
Swing swing_by(const KeptChange& change, const Kept& kept);

}  // namespace moesim
