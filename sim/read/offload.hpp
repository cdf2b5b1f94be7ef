// The scenario's part "offload": what of activations is in the host's memory from forward to backward.
#pragma once

#include <string>

#include "models/config/misfit.hpp"
#include "models/config/reader.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

Offload read_offload(Reader reader);
/// "expert_fc1+moe_act", or "8 layers"; empty where nothing is.
std::string offload_words(const Offload& offload);
/// What is computed again is not kept, and whole layers go to the host without recomputation.
Fit recomputes_beside(const Offload& offload, const Recompute& recompute);
/// What leaves must be kept, and the link to the host known. Whole layers only where Megatron-Core has them.
Fit fits_activation_offload(const Scenario& scenario);

}  // namespace moesim
