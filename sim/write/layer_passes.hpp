// What layers do, as text.
#pragma once

#include <string>
#include <vector>

#include "sim/estimate/layer_passes.hpp"

namespace moesim {

/// `title` lines, then each shape of layers with its passes, an act a line: what it is, its time and bytes.
/// Acts beside the pass are marked.
std::string draw_text(const std::vector<std::string>& title, const std::vector<LayerPasses>& all);

}  // namespace moesim
