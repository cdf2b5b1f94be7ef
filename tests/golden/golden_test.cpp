// What the program prints, word for word: the report of every scenario and the commands of
// tests/golden/commands, against the files beside this one. tools/bless writes those files; nothing else
// does.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <map>

#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

/// Shell lines by the name of their golden file. A scenario in a folder of its own is a-b for a/b.json.
std::map<std::string, std::string> golden_commands() {
  std::map<std::string, std::string> commands;
  for (const std::string& scenario : project_files("scenarios", ".json")) {
    std::string name = scenario.substr(std::string("scenarios/").size());
    name.resize(name.size() - std::string(".json").size());
    for (char& letter : name) letter = letter == '/' ? '-' : letter;
    commands[name] = "moesim run " + scenario;
  }
  for (const std::string& line : lines_of(project_file("tests/golden/commands"))) {
    const std::size_t colon = line.find(": ");
    REQUIRE(colon != std::string::npos);
    REQUIRE(commands.emplace(line.substr(0, colon), "moesim " + line.substr(colon + 2)).second);
  }
  return commands;
}

}  // namespace

TEST_CASE("Every scenario and every listed command prints what its golden file says") {
  for (const auto& [name, command] : golden_commands()) {
    const std::string file = fmt::format("tests/golden/{}.txt", name);
    const std::string expected = project_file(file);
    if (expected.empty()) {
      FAIL_CHECK(fmt::format("'{}' has no golden file {}: run tools/bless, read what it wrote and commit it",
                             command, file));
      continue;
    }
    const Outcome outcome = run_shell(command);
    INFO(command << ", exit code " << outcome.code << ", " << outcome.err);
    CHECK(outcome.code == 0);
    CHECK(outcome.err.empty());
    const std::string difference = first_difference(expected, outcome.out);
    INFO(file << ": " << difference << "\nIf the change is meant: run tools/bless and read its diff.");
    CHECK(difference.empty());
  }
}

TEST_CASE("Every golden file belongs to a scenario or a listed command") {
  const std::map<std::string, std::string> commands = golden_commands();
  for (const std::string& file : project_files("tests/golden", ".txt")) {
    const std::string name = file.substr(13, file.size() - 13 - 4);  // tests/golden/NAME.txt
    INFO(file << " is left over: run tools/bless, which removes it");
    CHECK(commands.contains(name));
  }
}

TEST_CASE("Every scenario says what it is about") {
  for (const std::string& scenario : project_files("scenarios", ".json")) {
    INFO(scenario);
    const Value document = parse_json(project_file(scenario), scenario);
    CHECK(member(document, {"about"}).text.size() > 10);
  }
}

TEST_CASE("The same scenario prints the same bytes again, and through standard input") {
  const std::string scenario = "scenarios/two-gpus.json";
  const Outcome first = run_moesim({"run", scenario});
  CHECK(run_moesim({"run", scenario}).out == first.out);
  CHECK(run_moesim({"run", "-"}, project_file(scenario)).out == first.out);
  CHECK(first.out.find("fingerprint ") != std::string::npos);
}

TEST_CASE("The option --out writes the file whole and nothing to standard output") {
  const Outcome outcome = run_shell(
      "d=$(mktemp -d); moesim run scenarios/two-gpus.json --out $d/report.txt && ls $d && cat $d/report.txt; "
      "rm -r $d");
  CHECK(outcome.code == 0);
  CHECK(outcome.out == "report.txt\n" + run_moesim({"run", "scenarios/two-gpus.json"}).out);
}
