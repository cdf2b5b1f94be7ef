#include "sim/write/csv_cell.hpp"

namespace moesim {

std::string quoted_cell(std::string_view text) {
  std::string result = "\"";
  for (const char letter : text) {
    if (letter == '"') result += '"';
    result += letter;
  }
  return result + '"';
}

std::string csv_cell(std::string_view text) {
  return text.find_first_of(",\"\n") == std::string_view::npos ? std::string(text) : quoted_cell(text);
}

}  // namespace moesim
