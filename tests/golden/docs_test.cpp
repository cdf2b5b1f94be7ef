// README.md and docs/ tell the truth: every command in them runs, and what they show is what is printed.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "models/base/file.hpp"
#include "sim/read/scenario.hpp"
#include "sim/scenario/scenario.hpp"
#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

struct Block {
  std::string page, language, text;
  std::string prints;  ///< the command of a comment <!-- prints: COMMAND --> before it
};

std::vector<Block> blocks_of(const std::string& page) {
  const std::string mark = "<!-- prints: ";
  std::vector<Block> blocks;
  std::string prints;
  bool inside = false;
  for (const std::string& line : lines_of(project_file(page))) {
    if (!inside && line.starts_with(mark)) prints = line.substr(mark.size(), line.size() - mark.size() - 4);
    if (line.starts_with("```")) {
      inside = !inside;
      if (inside) blocks.push_back({page, line.substr(3), {}, std::exchange(prints, {})});
    } else if (inside) {
      blocks.back().text += line + "\n";
    }
  }
  INFO(page << " ends inside a block");
  CHECK(!inside);
  return blocks;
}

std::vector<Block> all_blocks() {
  std::vector<Block> blocks = blocks_of("README.md");
  for (const std::string& page : project_files("docs", ".md")) {
    const std::vector<Block> more = blocks_of(page);
    blocks.insert(blocks.end(), more.begin(), more.end());
  }
  return blocks;
}

/// The commands that a block tells its reader to type, without prompt.
std::vector<std::string> commands_in(const Block& block) {
  std::vector<std::string> commands;
  if (block.language != "sh" && block.language != "console") return commands;
  for (std::string line : lines_of(block.text)) {
    if (line.starts_with("$ ")) line = line.substr(2);
    if (line.starts_with("./build/release/moesim "))
      line = line.substr(std::string("./build/release/").size());
    if (line.starts_with("moesim ") || line.starts_with("./tools/setup")) commands.push_back(line);
  }
  return commands;
}

/// The picture of the docs that a command draws; none: empty.
std::string picture_of(const std::string& command) {
  const std::size_t at = command.find("docs/pictures/");
  return at == std::string::npos ? std::string() : command.substr(at, command.find(' ', at) - at);
}

/// Runs the command with another file for its picture, and compares.
void check_picture(std::string command) {
  const Folder folder("docs");
  const std::string picture = picture_of(command);
  command.replace(command.find(picture), picture.size(), folder.at("picture.svg"));
  const Outcome outcome = run_shell(command);
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const std::string difference = first_difference(project_file(picture), read_file(folder.at("picture.svg")));
  INFO(picture << ": " << difference << "\nIf the change is meant: run tools/bless and look at the picture.");
  CHECK(difference.empty());
}

}  // namespace

TEST_CASE("Every command in README.md and docs/ runs and ends well") {
  std::size_t run = 0;
  std::set<std::string> done;  // once each, and those that other tests run not here
  for (const Block& block : all_blocks()) done.insert(block.prints);
  for (const Block& block : all_blocks()) {
    for (const std::string& command : commands_in(block)) {
      if (!command.starts_with("moesim ") || !picture_of(command).empty()) continue;
      if (!done.insert(command).second) continue;
      INFO(block.page << ": " << command);
      const Outcome outcome = run_shell(command);
      INFO(outcome.err);
      CHECK(outcome.code == 0);
      ++run;
    }
  }
  CHECK(run >= 10);
}

TEST_CASE("Commands in the docs draw the pictures as they are") {
  for (const Block& block : all_blocks()) {
    for (const std::string& command : commands_in(block)) {
      if (picture_of(command).empty()) continue;
      INFO(block.page << ": " << command);
      check_picture(command);
    }
  }
}

TEST_CASE("Every picture of the docs is drawn by a command on the page that shows it") {
  std::string shown;
  for (const Block& block : all_blocks()) {
    for (const std::string& command : commands_in(block)) shown += picture_of(command) + "\n";
  }
  const std::vector<std::string> pictures = project_files("docs/pictures", ".svg");
  CHECK(!pictures.empty());
  for (const std::string& picture : pictures) {
    INFO(picture);
    CHECK(shown.find(picture + "\n") != std::string::npos);
  }
}

TEST_CASE("Every scenario that README.md and docs/ name to tools/setup exists") {
  std::size_t named = 0;
  for (const Block& block : all_blocks()) {
    for (const std::string& command : commands_in(block)) {
      const std::size_t at = command.find("scenarios/");
      if (!command.starts_with("./tools/setup") || at == std::string::npos) continue;
      const std::string path = command.substr(at, command.find(' ', at) - at);
      INFO(block.page << ": " << path);
      CHECK(!project_file(path).empty());
      ++named;
    }
  }
  CHECK(named >= 1);
}

TEST_CASE("What README.md and docs/ show as printed is what is printed") {
  std::size_t shown = 0;
  for (const Block& block : all_blocks()) {
    if (block.prints.empty()) continue;
    const Outcome outcome = run_shell(block.prints);
    const std::string difference = first_difference(block.text, outcome.out);
    INFO(block.page << ": " << block.prints << ": " << difference
                    << "\nIf the change is meant: run tools/bless and read its diff.");
    CHECK(outcome.code == 0);
    CHECK(difference.empty());
    ++shown;
  }
  CHECK(shown >= 2);
}

TEST_CASE("The links of README.md and docs/ lead to files of the project") {
  std::vector<std::string> pages = project_files("docs", ".md");
  pages.push_back("README.md");
  for (const std::string& page : pages) {
    const std::string text = project_file(page);
    for (std::size_t at = text.find("]("); at != std::string::npos; at = text.find("](", at + 1)) {
      if (at > 0 && text[at - 1] == '[') continue;  // a lambda in an example
      std::string target = text.substr(at + 2, text.find(')', at) - at - 2);
      target = target.substr(0, target.find('#'));
      if (target.empty() || target.starts_with("http")) continue;
      const std::filesystem::path path =
          (std::filesystem::path(page).parent_path() / target).lexically_normal();
      INFO(page << ": " << target);
      CHECK(std::filesystem::exists(std::filesystem::path(MOESIM_SOURCE) / path));
    }
  }
}

TEST_CASE("The reference of scenarios names every key that is declared") {
  const std::string reference = project_file("docs/scenarios.md");
  for (const DescribedPart& part : describe_scenario()) {
    for (const Declaration& key : part.keys) {
      INFO(part.name << "." << key.name);
      CHECK(reference.find(key.name + " ") != std::string::npos);
    }
  }
}
