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
  const auto programs = [&](const Issued& issued) -> const Programs& { return *priced(issued).programs; };
  Swing swing;
  const auto recomputed = [&](std::int64_t place) {
    const auto layer = static_cast<std::int64_t>(backward.first_layer) + place;
    const PricedPrograms& of = priced({.layer = layer, .place = place});
    return of.kept[0].recomputed + of.kept[1].recomputed;
  };
  const auto add = [&](const KeptChange& change) {
    const Issued issued{.end = change.layer < 0 ? change.block : Activity::none,
                        .layer = change.layer,
                        .place = change.place};
    if (!change.again) return swing.add(change_by(change.pass, priced(issued).kept_of(change.block)));
    if (change.block == Activity::attention)
      swing.add(
          held_by_span(recompute_, change.place, static_cast<std::int64_t>(backward.layers), recomputed));
  };
  if (is_pair) {
    visit_changes_by_pair(forward, backward, programs, add);
  } else {
    visit_changes(forward, Pass::backward_input, programs, add);
  }
  return static_cast<double>(swing.most.count);
}

}  // namespace moesim
