// Members of the family that others build on.
#pragma once

#include <string_view>

#include "models/software/software.hpp"

namespace moesim {

/// The member of that name, which there is.
const Entry<Software>& software_named(std::string_view name);

}  // namespace moesim
