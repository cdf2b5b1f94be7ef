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

const CostTables::Priced& CostTables::priced_of(std::int64_t layer, Work block) const {
  if (layer >= 0) return priced_[shape_of_layer_[static_cast<std::size_t>(layer)]];
  return priced_[block == Work::head ? head_number() : embedding_number()];
}

double CostTables::played_rise(const StageContent& forward, const StageContent& backward,
                               bool is_pair) const {
  const auto programs = [this](const Issued& issued) -> const Programs& {
    return *priced_of(issued.layer, issued.end).programs;
  };
  Swing swing;
  for (const KeptChange& change : is_pair ? changes_by_pair(forward, backward, programs)
                                          : changes_by(forward, Pass::backward_input, programs)) {
    const std::array<Kept, 2>& kept = priced_of(change.layer, change.block).kept;
    swing.add(change_by(change.pass, kept[change.block == Work::feed_forward ? 1 : 0]));
  }
  return static_cast<double>(swing.most.count);
}

}  // namespace moesim
