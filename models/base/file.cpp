#include "models/base/file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include "models/base/error.hpp"

namespace moesim {
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

std::string read_all(std::FILE* file, const std::string& path) {
  std::string content;
  char block[65536];
  for (std::size_t n = 0; (n = std::fread(block, 1, sizeof block, file)) > 0;) content.append(block, n);
  if (std::ferror(file) != 0) throw InputError(path, "cannot be read");
  return content;
}

bool write_all(std::FILE* file, std::string_view content) {
  return std::fwrite(content.data(), 1, content.size(), file) == content.size() && std::fflush(file) == 0;
}

[[noreturn]] void fail_writing(const std::string& path) {
  throw InputError(path, std::string("cannot be written: ") + std::strerror(errno));
}

/// Where links lead, to what is not there yet too; some lead in a circle.
std::filesystem::path followed(const std::filesystem::path& path) {
  std::error_code ignored;
  std::filesystem::path place = std::filesystem::absolute(path);
  for (int i = 0; i < 40 && std::filesystem::is_symlink(place, ignored); ++i)
    place = place.parent_path() / std::filesystem::read_symlink(place, ignored);
  return place;
}

/// Into what is there and is no file of its own, as /dev/null or a pipe: a rename would replace the device.
void write_in_place(const std::string& path, std::string_view content) {
  const File file(std::fopen(path.c_str(), "wb"), &std::fclose);
  if (!file || !write_all(file.get(), content)) fail_writing(path);
}

}  // namespace

std::string read_file(const std::string& path) {
  if (path == "-") {
    std::string content = read_all(stdin, "standard input");
    if (content.empty()) throw InputError("standard input", "is empty, expected JSON");
    return content;
  }
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw InputError(path, "is a directory, expected a JSON file");
  const File file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) throw InputError(path, errno == ENOENT ? "no such file" : std::strerror(errno));
  std::string content = read_all(file.get(), path);
  if (content.find_first_not_of(" \t\r\n") == std::string::npos)
    throw InputError(path, "is empty, expected JSON");
  return content;
}

void check_place(const std::string& path) {
  if (path == "-") return;
  std::error_code ignored;
  const std::filesystem::file_status there = std::filesystem::status(path, ignored);
  if (std::filesystem::is_directory(there))
    throw InputError(path, "is a directory, expected the name of a file");
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const std::string touched = std::filesystem::is_other(there) ? path : folder.empty() ? "." : folder;
  if (::access(touched.c_str(), W_OK) != 0) fail_writing(path);
  if (!std::filesystem::is_other(there) && !std::filesystem::is_directory(touched, ignored)) {
    errno = ENOTDIR;
    fail_writing(path);
  }
}

bool is_same_file(const std::string& path, const std::string& other) {
  std::error_code ignored;
  if (path == "-" || other == "-" || std::filesystem::is_other(path, ignored)) return false;
  if (std::filesystem::exists(path, ignored) && std::filesystem::exists(other, ignored))
    return std::filesystem::equivalent(path, other, ignored);
  const auto name = [&](const std::filesystem::path& file) {
    return std::filesystem::weakly_canonical(followed(file), ignored).lexically_normal();
  };
  return name(path) == name(other);
}

void write_file(const std::string& path, std::string_view content) {
  if (path == "-") {
    if (!write_all(stdout, content)) fail_writing("standard output");
    return;
  }
  std::error_code ignored;
  const std::filesystem::file_status there = std::filesystem::status(path, ignored);
  if (std::filesystem::is_directory(there))
    throw InputError(path, "is a directory, expected the name of a file");
  if (std::filesystem::is_other(there)) return write_in_place(path, content);
  const std::string place = followed(path).string();  // a link stays a link
  const std::string temporary = place + "." + std::to_string(::getpid()) + ".tmp";
  File file(std::fopen(temporary.c_str(), "wb"), &std::fclose);
  if (!file) fail_writing(path);
  const bool written = write_all(file.get(), content);
  const bool closed = std::fclose(file.release()) == 0;
  if (!written || !closed || std::rename(temporary.c_str(), place.c_str()) != 0) {
    const int reason = errno;
    std::remove(temporary.c_str());
    errno = reason;
    fail_writing(path);
  }
}

}  // namespace moesim
