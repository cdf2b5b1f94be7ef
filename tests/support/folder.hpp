// A folder of files for one test, gone afterwards.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace moesim {

class Folder {
 public:
  explicit Folder(const std::string& name)
      : path_(std::filesystem::temp_directory_path() /
              ("moesim-" + name + "-" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  /// Where a file of that name is; folders on the way are made.
  std::string at(const std::string& file) const {
    std::filesystem::create_directories((path_ / file).parent_path());
    return (path_ / file).string();
  }
  /// Writes a file and returns its path.
  std::string write(const std::string& file, const std::string& content) const {
    std::ofstream(at(file)) << content;
    return at(file);
  }
  /// The text with the folder's path cut out, so that messages are the same everywhere.
  std::string shorten(std::string text) const {
    const std::string prefix = path_.string() + "/";
    for (std::size_t i = text.find(prefix); i != std::string::npos; i = text.find(prefix))
      text.erase(i, prefix.size());
    return text;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace moesim
