// One cell of a CSV table (RFC 4180).
#pragma once

#include <string>
#include <string_view>

namespace moesim {

/// In quotes, its own doubled.
std::string quoted_cell(std::string_view text);
/// The same where it needs quotes, else the text itself.
std::string csv_cell(std::string_view text);

}  // namespace moesim
