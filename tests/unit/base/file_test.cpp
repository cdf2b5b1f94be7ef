// Files are written whole or not at all.
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "tests/support/folder.hpp"

using namespace moesim;

namespace {

std::size_t files_in(const Folder& folder) {
  const std::filesystem::directory_iterator files(std::filesystem::path(folder.at("x")).parent_path());
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

std::string write_error(const Folder& folder, const std::string& path) {
  try {
    write_file(path, "new");
  } catch (const InputError& error) {
    return folder.shorten(error.what());
  }
  return "no error";
}

}  // namespace

TEST_CASE("What is written is read back, and replaces what was there") {
  const Folder folder("files");
  const std::string content = std::string("a\0b\n", 4) + std::string(200'000, 'x');
  write_file(folder.at("a"), content);
  CHECK(read_file(folder.at("a")) == content);
  write_file(folder.at("a"), "short");
  CHECK(read_file(folder.at("a")) == "short");
  CHECK(files_in(folder) == 1);
}

TEST_CASE("A link that is written to stays a link, and what it leads to is new") {
  const Folder folder("links");
  namespace fs = std::filesystem;
  folder.write("real", "old");
  fs::create_symlink("real", folder.at("link"));
  fs::create_symlink("to-come", folder.at("dangling"));
  write_file(folder.at("link"), "new");
  write_file(folder.at("dangling"), "there");
  CHECK(fs::is_symlink(folder.at("link")));
  CHECK(read_file(folder.at("real")) == "new");
  CHECK(fs::is_symlink(folder.at("dangling")));
  CHECK(read_file(folder.at("to-come")) == "there");
}

TEST_CASE("A file that cannot be written leaves nothing behind") {
  const Folder folder("unwritable");
  folder.write("sub/keep", "old");
  CHECK(write_error(folder, folder.at("sub")) == "sub: is a directory, expected the name of a file");
  CHECK(write_error(folder, folder.at("sub/keep") + "/below") ==
        "sub/keep/below: cannot be written: Not a directory");
  CHECK(read_file(folder.at("sub/keep")) == "old");
  CHECK(files_in(folder) == 1);
}

TEST_CASE("A folder that is not there is named, not made") {
  const Folder folder("nowhere");
  const std::string path = folder.at("x") + "/y/z";
  CHECK(write_error(folder, path) == "x/y/z: cannot be written: No such file or directory");
  CHECK(files_in(folder) == 0);
}

TEST_CASE("A device is written to, not replaced, and a full one is an error") {
  const Folder folder("devices");
  write_file("/dev/null", "gone");
  CHECK(std::filesystem::is_character_file("/dev/null"));
  if (std::filesystem::exists("/dev/full")) {
    CHECK(write_error(folder, "/dev/full") == "/dev/full: cannot be written: No space left on device");
  }
}

TEST_CASE("A file is the same by any spelling, symbolic link or hard link, and so is a place for one") {
  const Folder folder("same");
  const std::string file = folder.write("a", "1"), other = folder.write("b", "1"), place = folder.at("new");
  std::filesystem::create_symlink(file, folder.at("symbolic"));
  std::filesystem::create_hard_link(file, folder.at("hard"));
  std::filesystem::create_directory_symlink(folder.at(""), folder.at("again"));
  for (const std::string name : {"./a", "x/../a", "symbolic", "hard", "again/a"}) {
    INFO(name);
    std::filesystem::create_directories(folder.at("x"));
    CHECK(is_same_file(folder.at("") + name, file));
    CHECK(is_same_file(file, folder.at("") + name));
    CHECK(!is_same_file(folder.at("") + name, other));
    CHECK(!is_same_file(folder.at("") + name, place));
  }
  CHECK(is_same_file(folder.at("") + "again/./new", place));
  CHECK(!is_same_file(place, other));
  CHECK(!is_same_file("/dev/null", "/dev/null"));
}
