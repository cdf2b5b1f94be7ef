#include "sim/layer/lifetimes.hpp"

namespace moesim {
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

Swing swing_by(const KeptChange& change, const Kept& kept) {
  if (change.again) {
    const Bytes more = kept.again + kept.span;
    return {std::max(more, Bytes{}), more};
  }
  Bytes end = change_by(change.pass, kept);
  if (change.pass == Pass::forward) return {end + kept.in_forward, end};
  if (change.pass != Pass::backward_weight) end -= kept.again;
  const Bytes gradients = has_weights(change.pass) ? kept.gradients : Bytes{};
  end += gradients;
  return end > kept.in_backward ? Swing{end, end, gradients, gradients}
                                : Swing{kept.in_backward, end, Bytes{}, gradients};
}

}  // namespace moesim
