// Texts in a stream of bytes, each after its length: how processes of a sweep tell each other things.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace moesim {

/// "5\nhello" for "hello".
std::string framed(std::string_view text);

/// Takes the first text off what was heard so far; nothing where it has not come whole yet. Throws
/// std::logic_error for what is no framed text.
std::optional<std::string> take_framed(std::string& heard);

/// Writes all of it. Returns whether the other end still listens.
bool write_stream(int stream, std::string_view bytes);

/// Adds to `heard` what the stream has to say, waiting for the first of it. Returns whether there may be
/// more.
bool read_stream(int stream, std::string& heard);

}  // namespace moesim
