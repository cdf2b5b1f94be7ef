// What is computed again in backward: the key "recompute", in words and as a value.
#pragma once

#include <string>
#include <vector>

#include "models/config/misfit.hpp"
#include "models/config/reader.hpp"
#include "models/transformer/layer_ops.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Reads the scenario's own key "recompute": a list of names, or an object as Megatron-Core's arguments.
Recompute read_recompute(Reader& reader);
/// Reads that object.
Recompute read_recompute_part(Reader reader);

/// As the list says it; "none" where it is empty.
std::vector<std::string> names_of(const Recompute& recompute);

/// Software that recomputes whole layers recomputes no part of them alone.
Fit recomputes_as(const SoftwareHabits& habits, const Recompute& chosen);
/// The model and the software have what is named.
Fit fits_recompute(const Scenario& scenario);
/// Layers are dealt out, and passes are in an order, that it goes with.
Fit fits_recomputed_layers(const Scenario& scenario);

}  // namespace moesim
