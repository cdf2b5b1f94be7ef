// Names of tests travel through CMake lists and command lines: some signs would make tests vanish without a
// word.
#include <catch2/catch.hpp>

#include <filesystem>
#include <regex>

#include "models/base/file.hpp"

namespace fs = std::filesystem;

TEST_CASE("Names of tests are sentences without signs that lists or options are made of") {
  const std::regex name("TEST_CASE\\(\\s*\"([^\"]*)\"");
  std::size_t seen = 0;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(MOESIM_SOURCE "/tests")) {
    if (entry.path().extension() != ".cpp") continue;
    const std::string text = moesim::read_file(entry.path().string());
    for (std::sregex_iterator at(text.begin(), text.end(), name), end; at != end; ++at) {
      const std::string found = (*at)[1];
      CAPTURE(entry.path().string(), found);
      CHECK(found.find_first_of("[];") == std::string::npos);
      CHECK(!found.starts_with("-"));
      ++seen;
    }
  }
  CHECK(seen > 200);
}
