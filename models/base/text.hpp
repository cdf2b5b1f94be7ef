// Splitting text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moesim {

/// "a+b+c" at '+' as a, b, c: one word more than there are marks, empty ones too.
std::vector<std::string> split(std::string_view text, char mark);

}  // namespace moesim
