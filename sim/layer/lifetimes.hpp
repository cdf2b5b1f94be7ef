// What passes keep between forward and backward, act by act, in the order in which a rank issues them: that
// is when caching allocators allocate and release, whatever the times. A block's bytes are there from its
// first act in a forward to its last one in the pass that lets them go.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "models/base/units.hpp"
#include "sim/layer/issue.hpp"
#include "sim/work/share.hpp"

namespace moesim {

/// A block of a layer, or an end of the model, of which an act keeps something or lets it go.
struct KeptChange {
  Pass pass = Pass::forward;
  std::int64_t layer = -1;  ///< -1: an end of the model
  Work block = Work::none;
};

/// The programs of what is issued.
using ProgramsOf = std::function<const Programs&(const Issued&)>;

/// All changes of a pass that has the rank to itself, in their order.
std::vector<KeptChange> changes_by(const StageContent& stage, Pass pass, const ProgramsOf& programs);
/// The same of a forward beside a full backward.
std::vector<KeptChange> changes_by_pair(const StageContent& forward, const StageContent& backward,
                                        const ProgramsOf& programs);

/// What a pass changes of a block that keeps so much. Where input and weight gradients are one pass, nothing
/// is kept from one to the other beside what forward kept.
Bytes change_by(Pass pass, const Kept& kept);

/// What changes in a row make of the bytes that are held, over those before.
struct Swing {
  Bytes most;  ///< at the worst moment; zero where they never rise
  Bytes end;
  void add(Bytes change) { add(Swing{std::max(change, Bytes{}), change}); }
  void add(const Swing& next) {
    most = std::max(most, end + next.most);
    end += next.end;
  }
};

}  // namespace moesim
