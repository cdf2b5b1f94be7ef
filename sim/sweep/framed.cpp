#include "sim/sweep/framed.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include "models/base/error.hpp"

namespace moesim {

std::string framed(std::string_view text) { return fmt::format("{}\n{}", text.size(), text); }

std::optional<std::string> take_framed(std::string& heard) {
  const std::size_t end = heard.find('\n');
  if (end == std::string::npos) return std::nullopt;
  std::size_t length = 0;
  const auto [last, error] = std::from_chars(heard.data(), heard.data() + end, length);
  ensure(error == std::errc() && last == heard.data() + end, "a text comes after its length");
  if (heard.size() - end - 1 < length) return std::nullopt;
  std::string text = heard.substr(end + 1, length);
  heard.erase(0, end + 1 + length);
  return text;
}

bool write_stream(int stream, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(stream, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

bool read_stream(int stream, std::string& heard) {
  char bytes[65536];
  const ssize_t count = ::read(stream, bytes, sizeof bytes);
  if (count > 0) heard.append(bytes, static_cast<std::size_t>(count));
  return count > 0 || (count < 0 && errno == EINTR);
}

}  // namespace moesim
