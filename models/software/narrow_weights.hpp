// Weights in fp8 and fp4 as Transformer Engine holds them for its products.
#pragma once

#include "models/base/precision.hpp"
#include "models/base/scaling.hpp"
#include "models/cluster/device.hpp"

namespace moesim {

/// Bytes for each weight.
struct NarrowWeights {
  double held = 0;      ///< along rows and, where products need it, once more along columns; with scales
  double sent = 0;      ///< in a gather
  double by_owner = 0;  ///< that a device moves to cast what it has updated
  double by_all = 0;    ///< that it moves for all that it holds, once a step
};

/// Weights that are in fp8 and nothing else (Megatron-Core, --fp8-param-gather).
NarrowWeights narrow_weights(Fp8Recipe recipe, Generation generation);
/// Copies of weights that are in bf16, made with the first microbatch of a step and kept over the others.
NarrowWeights narrow_copies(Precision precision, Fp8Recipe recipe, Generation generation);

}  // namespace moesim
