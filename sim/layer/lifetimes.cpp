#include "sim/layer/lifetimes.hpp"

namespace moesim {
namespace {

void add_changes(const Issued& issued, const Program& program, Pass pass, std::vector<KeptChange>& changes) {
  for (const KeptBlock& kept : program.kept) {
    if (!issued.segment || kept.segment == *issued.segment)
      changes.push_back({pass, issued.layer, kept.block});
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
