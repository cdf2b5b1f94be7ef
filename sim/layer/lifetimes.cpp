#include "sim/layer/lifetimes.hpp"

namespace moesim {
namespace {

/// The pass of the act with which a block keeps or lets go.
OpPass acts_in(Pass pass) {
  if (pass == Pass::forward) return OpPass::forward;
  return pass == Pass::backward_input ? OpPass::backward_input : OpPass::backward_weight;
}

/// The acts of a program with which its blocks keep or let go: the first of each in a forward, else the last.
/// A program that computes nothing is over with its first act.
std::vector<const Act*> changing_acts(const Program& program, Pass pass) {
  std::vector<const Act*> acts;
  for (const Act& act : program.acts) {
    if (act.kind != ActKind::compute || act.pass != acts_in(pass)) continue;
    const auto same =
        std::find_if(acts.begin(), acts.end(), [&](const Act* known) { return known->work == act.work; });
    if (same != acts.end() && pass == Pass::forward) continue;
    if (same != acts.end()) acts.erase(same);
    acts.push_back(&act);
  }
  if (acts.empty() && !program.acts.empty()) acts.push_back(&program.acts.front());
  return acts;
}

void add_changes(const Issued& issued, const Program& program, Pass pass, std::vector<KeptChange>& changes) {
  for (const Act* act : changing_acts(program, pass)) {
    if (!issued.segment || act->segment == *issued.segment)
      changes.push_back({pass, issued.layer, act->work});
  }
}

}  // namespace

std::vector<KeptChange> changes_by(const StageContent& stage, Pass pass, const ProgramsOf& programs) {
  std::vector<KeptChange> changes;
  for (const Issued& issued : issued_by(stage, pass))
    add_changes(issued, programs(issued).alone[static_cast<std::size_t>(pass)], pass, changes);
  return changes;
}

std::vector<KeptChange> changes_by_pair(const StageContent& forward, const StageContent& backward,
                                        const ProgramsOf& programs) {
  std::vector<KeptChange> changes;
  for (const Issued& issued : issued_by_pair(forward, backward)) {
    const Programs& all = programs(issued);
    const Pass pass = issued.is_backward ? Pass::backward : Pass::forward;
    add_changes(issued, issued.is_backward ? all.woven_backward : all.woven_forward, pass, changes);
  }
  return changes;
}

Bytes change_by(Pass pass, const Kept& kept) {
  switch (pass) {
    case Pass::forward:
      return kept.for_backward;
    case Pass::backward_input:
      return kept.for_weight - kept.for_backward;
    case Pass::backward_weight:
      return Bytes{} - kept.for_weight;
    case Pass::backward:
      break;
  }
  return Bytes{} - kept.for_backward;
}

}  // namespace moesim
