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

/// What write_file would find out only when there is something to write: throws InputError where the place is
/// a directory, or its folder is missing or may not be written.
void check_place(const std::string& path);

/// Whether both name one regular file, by any spelling or link, or a place for one. A device or a pipe may
/// have many names.
bool is_same_file(const std::string& path, const std::string& other);

}  // namespace moesim
