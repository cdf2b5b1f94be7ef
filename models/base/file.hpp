// Files read whole and written whole.
#pragma once

#include <string>
#include <string_view>

namespace moesim {

/// The content of a file, or of standard input for "-". Throws InputError for a missing file, a directory or
/// an empty file.
std::string read_file(const std::string& path);

/// Writes the file whole or not at all (a temporary beside it, then a rename); "-" is standard output. Throws
/// InputError where the place cannot be written.
void write_file(const std::string& path, std::string_view content);

}  // namespace moesim
