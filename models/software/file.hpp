// Software that a user describes: for each op a list of kernels.
#pragma once

#include <string>
#include <vector>

#include "models/config/reader.hpp"

namespace moesim {

/// The keys of one of its parts, as `moesim describe` lists them.
struct SoftwarePart {
  std::string name, sentence;
  std::vector<Declaration> keys;
};
std::vector<SoftwarePart> describe_software_file();

}  // namespace moesim
