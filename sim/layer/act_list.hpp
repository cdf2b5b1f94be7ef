// A program while it is written: acts are added at its end, segment by segment.
#pragma once

#include <cstdint>

#include "models/base/at.hpp"
#include "sim/layer/program.hpp"

namespace moesim {

class ActList {
 protected:
  void begin(Segment segment) {
    end();
    segment_ = segment;
    at(program_.begin, segment) = size();
  }
  void end() { at(program_.end, segment_) = size(); }
  std::uint16_t size() const { return static_cast<std::uint16_t>(program_.acts.size()); }
  /// The program, with what its blocks keep in such a pass.
  Program take(Pass pass);

  Act& add(Act act) {
    act.segment = segment_;
    return program_.acts.emplace_back(act);
  }
  Act& compute(Activity block, OpPass pass) {
    return add({.kind = ActKind::compute, .activity = block, .pass = pass});
  }
  Act& call(Activity activity, OpPass pass, Operation operation) {
    return add({.kind = ActKind::call, .activity = activity, .pass = pass, .operation = operation});
  }
  void join(Lane one, Lane other) { add({.kind = ActKind::join, .behind = one, .also_behind = other}); }
  void needs(Activity block, OpPass pass) { add({.kind = ActKind::needs, .activity = block, .pass = pass}); }

 private:
  Segment segment_ = Segment::attention;
  Program program_;
};

}  // namespace moesim
