// A scenario's text, read once so that it may come from standard input, and loaded as often as runs vary it.
#pragma once

#include <string>
#include <vector>

#include "models/base/file.hpp"
#include "models/config/document.hpp"

namespace moesim {

struct Source {
  std::string text, origin;

  /// Of a file; "-" is standard input.
  static Source of(const std::string& path) {
    return {.text = read_file(path), .origin = path == "-" ? "standard input" : path};
  }
  Value load(const std::vector<Override>& overrides) const {
    return load_document_text(text, origin, overrides);
  }
};

}  // namespace moesim
