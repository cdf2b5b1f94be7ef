#include "models/base/text.hpp"

namespace moesim {

std::vector<std::string> split(std::string_view text, char mark) {
  std::vector<std::string> words(1);
  for (const char letter : text) {
    if (letter == mark)
      words.emplace_back();
    else
      words.back() += letter;
  }
  return words;
}

}  // namespace moesim
