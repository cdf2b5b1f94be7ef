// What a scenario has chosen, in words for reports: ScenarioWords.
#pragma once

#include <string>
#include <string_view>

#include "models/config/reader.hpp"
#include "models/transformer/layer_ops.hpp"

namespace moesim {

/// A part's kind with its other keys, as "interleaved (chunks=2)"; `usual` where it has no kind.
std::string words_of(const Reader& part, std::string_view usual);
/// The scenario's key "recompute" as "norm+activation".
std::string recompute_words(const Reader& reader, const Recompute& recompute);

}  // namespace moesim
