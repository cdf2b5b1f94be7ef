// What stages hold in the midst of a pass, where it may be more than before and after.
#include "sim/estimate/costs.hpp"
#include "sim/layer/lifetimes.hpp"

namespace moesim {

double CostTables::rise_of_input(const StageContent& stage) { return rise(stage, stage, false); }

double CostTables::rise_of_pair(const StageContent& forward, const StageContent& backward) {
  return rise(forward, backward, true);
}

double CostTables::rise(const StageContent& forward, const StageContent& backward, bool is_pair) {
  for (const KnownRise& known : rises_) {
    if (known.is_pair == is_pair && is_alike(known.forward, forward) && is_alike(known.backward, backward))
      return known.bytes;
  }
  rises_.push_back({forward, backward, is_pair, played_rise(forward, backward, is_pair)});
  return rises_.back().bytes;
}

double CostTables::played_rise(const StageContent& forward, const StageContent& backward,
                               bool is_pair) const {
  Swing swing;
  const auto add = [&](const Issued& issued, const Program& program, const PricedPrograms& priced,
                       Pass pass) {
    for (const KeptBlock& block : program.kept) {
      if (issued.segment && block.segment != *issued.segment) continue;
      swing.add(change_by(pass, priced.kept[block.block == Work::feed_forward ? 1 : 0]));
    }
  };
  if (is_pair) {
    visit_issued_by_pair(forward, backward, [&](const Issued& issued) {
      const PricedPrograms& priced = priced_[number_of(issued)];
      if (issued.is_backward) return add(issued, priced.programs->woven_backward, priced, Pass::backward);
      add(issued, priced.programs->woven_forward, priced, Pass::forward);
    });
  } else {
    constexpr Pass pass = Pass::backward_input;
    visit_issued(forward, pass, [&](const Issued& issued) {
      const PricedPrograms& priced = priced_[number_of(issued)];
      add(issued, priced.programs->alone[static_cast<std::size_t>(pass)], priced, pass);
    });
  }
  return static_cast<double>(swing.most.count);
}

}  // namespace moesim
