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
  bool kernels = false;  ///< in text and tables; JSON always has them
};

/// Each shape of layers with its passes, an act a line: what it is, its time and bytes. What goes on beside
/// the pass is marked. With `kernels` the ops of computation stand under their act, a line each; one of
/// several kernels has a line for each of them.
std::string layer_text(const LayerListing& listing);

/// JSON, schema "moesim.layers/1": about, plan, scenario (what `scenario` makes), forms: [{form, layers, head
/// of a tied model: matrix, passes: [{pass, time_s, kept_bytes, acts: [{..., ops}]}], pair_s}]. Table: a row
/// for each act under its form, layers and pass with the pass' time; a pair is a row of its own; with
/// `kernels` a row for each kernel instead. What does not apply is absent, an empty cell in a table.
Told tell(const LayerListing& listing, std::function<Value()> scenario);

}  // namespace moesim
