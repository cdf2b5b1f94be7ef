// The house as docs/architecture.md draws it: who may include whom, who may see which library, and that every
// member of a family has a name, a sentence and a test.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <regex>
#include <set>

#include "models/routing/skew.hpp"
#include "sim/read/scenario.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/write/writer.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

/// Floors from the ground up. A room may include rooms of lower floors and itself.
const std::map<std::string, int> floors{
    {"models/base", 0},    {"models/config", 1},    {"models/transformer", 2},
    {"models/cluster", 2}, {"models/routing", 2},   {"models/software", 3},
    {"models/cost", 3},    {"models/optimizer", 3}, {"sim/schedule", 4},
    {"sim/graph", 4},      {"sim/collective", 4},   {"sim/gradient", 5},
    {"sim/engine", 5},     {"sim/scenario", 6},     {"sim/work", 7},
    {"sim/read", 8},       {"sim/layer", 8},        {"sim/lower", 9},
    {"sim/estimate", 9},   {"sim/report", 9},       {"sim/picture", 10},
    {"sim/write", 10},     {"sim/run", 11},         {"sim/search", 12},
    {"sim/sweep", 12},     {"sim/explain", 12},     {"tools", 13}};

/// A library and the paths that may include it.
struct Fence {
  std::string library;
  std::vector<std::string> allowed;
};

const std::vector<Fence> fences{
    {"simgrid/", {"sim/engine/simgrid.cpp", "sim/engine/simgrid_platform.hpp"}},
    {"sqlite3", {"sim/sweep/results.cpp"}},
    {"mpi.h", {"sim/sweep/mpi.cpp"}},
    {"boost/", {"models/cluster/*.cpp", "models/routing/dropping.cpp", "sim/graph/*.cpp"}},
    {"nlohmann/", {"models/config/*.cpp"}},
    {"cuda", {"kernels/"}},
    {"cublas", {"kernels/"}},
    {"CLI/", {"tools/"}},
    {"iostream", {}}};

/// "models/config" of "models/config/json.cpp", "tools" of "tools/main.cpp".
std::string room_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

std::vector<std::string> sources() {
  std::vector<std::string> all;
  for (const std::string folder : {"models", "sim", "tools"}) {
    for (const std::string ending : {".cpp", ".hpp"}) {
      const std::vector<std::string> found = project_files(folder, ending);
      all.insert(all.end(), found.begin(), found.end());
    }
  }
  return all;
}

/// What the #include lines of a file name, without the quotes.
std::vector<std::string> includes_of(const std::string& path) {
  std::vector<std::string> included;
  for (const std::string& line : lines_of(project_file(path))) {
    if (!line.starts_with("#include ")) continue;
    const std::size_t open = line.find_first_of("<\"");
    const std::size_t close = line.find_first_of(">\"", open + 1);
    REQUIRE(close != std::string::npos);
    included.push_back(line.substr(open + 1, close - open - 1));
  }
  return included;
}

/// "sim/graph/*.cpp" stands for the sources of a room, "kernels/" for all below it.
bool matches(const std::string& path, const std::string& pattern) {
  const std::size_t star = pattern.find('*');
  if (star == std::string::npos) return path.starts_with(pattern);
  return path.starts_with(pattern.substr(0, star)) && path.ends_with(pattern.substr(star + 1));
}

template <class Interface>
void check_register(const std::string& family, Register<Interface> members, const std::string& tests) {
  std::set<std::string_view> names;
  for (const Entry<Interface>* member : members) {
    INFO(family << " " << member->name);
    CHECK(names.insert(member->name).second);
    CHECK(!member->name.empty());
    CHECK(member->sentence.size() > 10);
    CHECK(!member->sentence.ends_with('.'));
    const std::string name(member->name);
    // As a kind in JSON, an option of the command line or a text of a test.
    const bool is_tested = tests.find("\"" + name + "\"") != std::string::npos ||
                           tests.find("kind=" + name) != std::string::npos;
    CHECK(is_tested);
  }
  CHECK(!names.empty());
}

}  // namespace

TEST_CASE("Every folder of sources is a room with a floor of its own") {
  const std::vector<std::string> all = sources();
  REQUIRE(all.size() > 50);
  for (const std::string& path : all) {
    INFO(path);
    CHECK(floors.contains(room_of(path)));
  }
}

TEST_CASE("A room includes only rooms of lower floors, by their full path") {
  for (const std::string& path : sources()) {
    const std::string room = room_of(path);
    for (const std::string& included : includes_of(path)) {
      const auto other = floors.find(room_of(included));
      if (other == floors.end()) {
        INFO(path << " includes " << included << ", which no room holds");
        const bool is_ours = included.starts_with("models/") || included.starts_with("sim/") ||
                             included.starts_with("tools/") || included.starts_with("kernels/") ||
                             (included.find('/') == std::string::npos && included.ends_with(".hpp"));
        CHECK(!is_ours);
        continue;
      }
      INFO(path << " includes " << included);
      CHECK((other->first == room || other->second < floors.at(room)));
    }
  }
}

TEST_CASE("A library is seen only where the house allows it") {
  for (const std::string& path : sources()) {
    for (const std::string& included : includes_of(path)) {
      for (const Fence& fence : fences) {
        if (!included.starts_with(fence.library)) continue;
        INFO(path << " includes " << included);
        CHECK(std::any_of(fence.allowed.begin(), fence.allowed.end(),
                          [&](const std::string& pattern) { return matches(path, pattern); }));
      }
    }
  }
}

TEST_CASE("Every header is included once at the most, and no source includes a source") {
  for (const std::string& path : sources()) {
    if (path.ends_with(".hpp")) {
      INFO(path);
      CHECK(project_file(path).find("#pragma once\n") != std::string::npos);
    }
    for (const std::string& included : includes_of(path)) CHECK(!included.ends_with(".cpp"));
  }
}

TEST_CASE("A source file begins by saying what it is, and includes its own header first") {
  for (const std::string& path : sources()) {
    if (path.ends_with(".hpp")) {
      INFO(path);
      CHECK(project_file(path).starts_with("// "));
      continue;
    }
    const std::string header = path.substr(0, path.size() - 4) + ".hpp";
    if (project_file(header).empty()) continue;
    const std::vector<std::string> included = includes_of(path);
    INFO(path);
    REQUIRE(!included.empty());
    CHECK(included.front() == header);
  }
}

TEST_CASE("Members of a family have unique names, a sentence without period each, and a test or scenario") {
  std::string tests;
  for (const std::string& path : project_files("tests", "_test.cpp")) tests += project_file(path);
  for (const std::string& path : project_files("scenarios", ".json")) tests += project_file(path);
  for (const std::string& path : project_files("configs", ".json")) tests += project_file(path);
  check_register("schedule", schedules(), tests);
  check_register("topology", topologies(), tests);
  check_register("routing", routings(), tests);
  check_register("skew", skews(), tests);
  check_register("balancing", balancings(), tests);
  check_register("gradient_sync", gradient_syncs(), tests);
  check_register("collective", collectives(), tests);
  check_register("software", softwares(), tests);
  check_register("optimizer", optimizers(), tests);
  check_register("cost", costs(), tests);
  check_register("engine", engines(), tests);
  check_register("writer", writers(), tests);
}

TEST_CASE("No command names the formats that it writes in") {
  for (const std::string& path : project_files("tools", ".cpp")) {
    for (const std::string& line : lines_of(project_file(path))) {
      INFO(path << ": " << line);
      CHECK(line.find("format == \"") == std::string::npos);
      const std::size_t choice = line.find("IsMember({");
      for (const Entry<Writer>* writer : writers())
        CHECK(line.find('"' + std::string(writer->name) + '"', std::min(choice, line.size())) ==
              std::string::npos);
    }
  }
}

TEST_CASE("Members of all families are declared alike, and named after their family") {
  const std::map<std::string, std::string> families{
      {"Schedule", "schedule"},     {"Topology", "topology"},
      {"Routing", "routing"},       {"Skew", "skew"},
      {"Balancing", "balancing"},   {"GradientSync", "gradient_sync"},
      {"Collective", "collective"}, {"Software", "software"},
      {"Optimizer", "optimizer"},   {"Cost", "cost"},
      {"Engine", "engine"},         {"Writer", "writer"}};
  const std::regex entry("^(.*)\\bEntry<(\\w+)> (\\w+)([;{]).*");
  std::map<std::string, int> declared, defined;
  for (const std::string& path : sources()) {
    for (const std::string& line : lines_of(project_file(path))) {
      std::smatch found;
      if (!std::regex_match(line, found, entry)) continue;
      INFO(path << ": " << line);
      REQUIRE(families.contains(found[2]));
      const std::string name = found[3];
      CHECK(name.ends_with("_" + families.at(found[2])));
      const bool is_declaration = found[4] == ";";
      CHECK(found[1] == (is_declaration ? "extern const " : "extern constexpr "));
      ++(is_declaration ? declared : defined)[name];
    }
    const std::string table = "constinit const Entry<";
    if (project_file(path).find(table) == std::string::npos) continue;
    INFO(path);
    CHECK(project_file(path).find(">* const members[] = {") != std::string::npos);
  }
  CHECK(declared.size() > 30);
  CHECK(declared == defined);
}

TEST_CASE("Every key has a help that is no sentence, and a name in snake_case") {
  for (const DescribedPart& part : describe_scenario()) {
    for (const Declaration& key : part.keys) {
      INFO(part.name << "." << key.name);
      CHECK(!key.help.empty());
      CHECK(!key.help.ends_with('.'));
      CHECK(key.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos);
    }
  }
}
