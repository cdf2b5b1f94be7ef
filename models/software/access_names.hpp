// Laws of PyTorch's kernels (pytorch.hpp) under names, for software that is described in a file.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "models/transformer/op.hpp"

namespace moesim::pytorch {

/// The law of that name; none where there is no such.
std::optional<Access> access_named(std::string_view name);
/// All names.
std::vector<std::string_view> access_names();

}  // namespace moesim::pytorch
