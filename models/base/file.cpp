#include "models/base/file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

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

}  // namespace

std::string read_file(const std::string& path) {
  if (path == "-") {
    std::string content = read_all(stdin, "standard input");
    if (content.empty()) throw InputError("standard input", "is empty, expected JSON");
    return content;
  }
  if (std::filesystem::is_directory(path)) throw InputError(path, "is a directory, expected a JSON file");
  const File file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) throw InputError(path, errno == ENOENT ? "no such file" : std::strerror(errno));
  std::string content = read_all(file.get(), path);
  if (content.find_first_not_of(" \t\r\n") == std::string::npos) throw InputError(path, "is empty, expected JSON");
  return content;
}

void write_file(const std::string& path, std::string_view content) {
  if (path == "-") {
    std::fwrite(content.data(), 1, content.size(), stdout);
    std::fflush(stdout);
    return;
  }
  const std::string temporary = path + "." + std::to_string(::getpid()) + ".tmp";
  {
    File file(std::fopen(temporary.c_str(), "wb"), &std::fclose);
    if (!file) throw InputError(path, std::string("cannot be written: ") + std::strerror(errno));
    const bool written = std::fwrite(content.data(), 1, content.size(), file.get()) == content.size();
    if (std::fclose(file.release()) != 0 || !written) {
      const std::string reason = std::strerror(errno);
      std::remove(temporary.c_str());
      throw InputError(path, "cannot be written: " + reason);
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    const std::string reason = std::strerror(errno);
    std::remove(temporary.c_str());
    throw InputError(path, "cannot be written: " + reason);
  }
}

}  // namespace moesim
