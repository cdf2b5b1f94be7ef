// What layers do, act by act, as `moesim schedule --layer` lists it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/estimate/layer_passes.hpp"
#include "sim/write/writer.hpp"

namespace moesim {

/// All layers of a scenario, and what was asked.
struct LayerListing {
  std::string about, title, plan;  ///< title: `about`, and what the command line changed of it
  std::vector<LayerPasses> all{};
};

/// Each shape of layers with its passes, an act a line: what it is, its time and bytes. What goes on beside
/// the pass is marked.
std::string layer_text(const LayerListing& listing);

/// JSON, schema "moesim.layers/1": about, plan, scenario (what `scenario` makes), forms: [{form, layers, head
/// of a tied model: matrix, passes: [{pass, time_s, kept_bytes, acts: [...]}], pair_s}]. Table: a row for
/// each act under its form, layers and pass with the pass' time; a pair is a row of its own. What does not
/// apply is absent, an empty cell in a table.
Told tell(const LayerListing& listing, std::function<Value()> scenario);

}  // namespace moesim
