#include "tests/support/program.hpp"

#include <fmt/format.h>
#include <sys/wait.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/folder.hpp"

namespace moesim::testing {
namespace {

namespace fs = std::filesystem;

std::string quoted(const std::string& word) {
  std::string text = "'";
  for (const char letter : word) text += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return text + "'";
}

std::string content_of(const fs::path& path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

}  // namespace

Outcome run_shell(const std::string& line, const std::string& input) {
  const Folder folder("program");
  const std::string from = folder.write("in", input);
  const std::string script = fmt::format(
      "cd {} || exit 99\nmoesim() {{ {} \"$@\"; }}\n{{ {}\n}} <{} >{} 2>{}\n", quoted(MOESIM_SOURCE),
      quoted(MOESIM_PROGRAM), line, quoted(from), quoted(folder.at("out")), quoted(folder.at("err")));
  const int status = std::system(("bash " + quoted(folder.write("script", script))).c_str());
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = content_of(folder.at("out")),
          .err = content_of(folder.at("err"))};
}

Outcome run_moesim(const std::vector<std::string>& arguments, const std::string& input) {
  std::string line = "moesim";
  for (const std::string& argument : arguments) line += " " + quoted(argument);
  return run_shell(line, input);
}

std::string project_file(const std::string& path) { return content_of(fs::path(MOESIM_SOURCE) / path); }

std::vector<std::string> project_files(const std::string& folder, const std::string& ending) {
  std::vector<std::string> paths;
  const fs::path root(MOESIM_SOURCE);
  if (!fs::exists(root / folder)) return paths;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root / folder)) {
    const std::string path = fs::relative(entry.path(), root).string();
    if (entry.is_regular_file() && path.ends_with(ending)) paths.push_back(path);
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string first_difference(const std::string& expected, const std::string& found) {
  if (expected == found) return {};
  const std::vector<std::string> a = lines_of(expected);
  const std::vector<std::string> b = lines_of(found);
  std::size_t line = 0;
  while (line < a.size() && line < b.size() && a[line] == b[line]) ++line;
  const auto at = [&](const std::vector<std::string>& lines) {
    return line < lines.size() ? "'" + lines[line] + "'" : std::string("the end");
  };
  return fmt::format("line {}: expected {}, found {}", line + 1, at(a), at(b));
}

Value json_report(const std::string& scenario, const std::vector<std::string>& options) {
  std::vector<std::string> arguments{"run", scenario, "--format", "json"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const Outcome outcome = run_moesim(arguments);
  INFO(scenario << ": " << outcome.err);
  REQUIRE(outcome.code == 0);
  return parse_json(outcome.out, scenario);
}

const Value& member(const Value& object, std::initializer_list<std::string_view> path) {
  const Value* at = &object;
  for (const std::string_view name : path) {
    const Value* next = at->find(name);
    INFO("the key " << name);
    REQUIRE(next != nullptr);
    at = next;
  }
  return *at;
}

}  // namespace moesim::testing
