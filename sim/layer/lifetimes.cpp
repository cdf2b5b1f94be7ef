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

}  // namespace moesim
