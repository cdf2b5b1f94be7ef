// Nothing is destroyed: no command writes over a file that it reads, by any name of it, nor over another
// output.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

namespace fs = std::filesystem;

/// A scenario in files of its own: parts, what they extend, a trace that it replays.
class Project {
 public:
  Project() {
    folder_.write("model.json", project_file("configs/models/tiny.json"));
    folder_.write("device.json", R"({"extends": ")" MOESIM_SOURCE R"(/configs/devices/h100.json"})");
    folder_.write("cluster.json", R"({"extends": ")" MOESIM_SOURCE
                                  R"(/configs/clusters/two-gpus.json", "device": "device.json"})");
    folder_.write("base.json", R"({"extends": ")" MOESIM_SOURCE R"(/scenarios/two-gpus.json",
                                   "model": "model.json", "cluster": "cluster.json"})");
    folder_.write("s.json", R"({"extends": "base.json"})");
    folder_.write("other-model.json", project_file("configs/models/tiny.json"));
    folder_.write("config.json", project_file("tests/support/hf/mixtral-8x7b.json"));
    folder_.write("questions.jsonl", R"({"op": "copy", "bytes": 1000})");
    folder_.write("cases.json", R"({"groups": []})");
  }

  std::string at(const std::string& file) const { return folder_.at(file); }

  /// Runs a line of shell in which words that begin with @ are files of the project. Whatever it comes to, no
  /// file of the project has changed and none is new.
  Outcome run(const std::string& line) const {
    const std::string before = contents();
    std::string whole = line;
    for (std::size_t i = whole.find('@'); i != std::string::npos; i = whole.find('@'))
      whole.replace(i, 1, folder_.at(""));
    Outcome outcome = run_shell(whole);
    outcome.err = folder_.shorten(outcome.err);
    CHECK(contents() == before);
    return outcome;
  }

  std::string contents() const {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(folder_.at(""))) {
      std::ifstream file(entry.path());
      std::string content(std::istreambuf_iterator<char>(file), {});
      files.push_back(entry.path().string() + "\n" + content + "\n");
    }
    std::sort(files.begin(), files.end());
    return fmt::format("{}", fmt::join(files, ""));
  }

 private:
  Folder folder_{"outputs"};
};

void check_refused(const Project& project, const std::string& line) {
  INFO(line);
  const Outcome outcome = project.run(line);
  INFO(outcome.err);
  CHECK(outcome.code == 2);
  CHECK(outcome.out.empty());
  CHECK(lines_of(outcome.err).size() == 1);
  CHECK((outcome.err.find("is the file of ") != std::string::npos ||
         outcome.err.find("nothing is written over what is read") != std::string::npos));
}

}  // namespace

TEST_CASE("No output of any command is the file that it is given") {
  const Project project;
  for (const std::string line :
       {"moesim run @s.json --out @s.json",
        "moesim run @s.json --trace @s.json --out /dev/null",
        "moesim run @s.json --html @s.json --out /dev/null",
        "moesim compare @s.json --over batch.sequences=8,16 --html @s.json",
        "moesim sweep @s.json --over batch.sequences=8 --html @s.json",
        "moesim search @s.json --html @s.json",
        "moesim validate @cases.json --html @cases.json",
        "moesim compare @s.json --over batch.sequences=8,16 --out @s.json",
        "moesim schedule @s.json --svg @s.json",
        "moesim schedule @s.json --out @s.json",
        "moesim sweep @s.json --over batch.sequences=8 --out @s.json",
        "moesim search @s.json --out @s.json",
        "moesim import @config.json --out @config.json",
        "moesim topology @cluster.json --out @cluster.json",
        "moesim cost @device.json copy bytes=8 --out @device.json",
        "moesim cost @device.json --batch @questions.jsonl --out @questions.jsonl",
        "moesim calibrate --measurements @s.json --out @s.json",
        "moesim calibrate --measurements @s.json --keep @s.json",
        "moesim calibrate --measurements @s.json --base @device.json --out @device.json",
        "moesim validate @cases.json --out @cases.json",
        "moesim run - --out @s.json < @s.json"})
    check_refused(project, line);
}

TEST_CASE("No output is a file that what a command is given needs") {
  const Project project;
  for (const std::string line :
       {"moesim run @s.json --out @base.json", "moesim run @s.json --trace @model.json",
        "moesim run @s.json --html @model.json",
        "moesim compare @s.json --over batch.sequences=8,16 --out @cluster.json",
        "moesim compare @s.json --over model=@model.json,@other-model.json --out @other-model.json",
        "moesim schedule @s.json --svg @device.json",
        "moesim sweep @s.json --over batch.sequences=8,16 --csv @model.json",
        "moesim sweep @s.json --over model=@model.json,@other-model.json --json-lines @other-model.json",
        "moesim search @s.json --svg @cluster.json", "moesim topology @cluster.json --out @device.json",
        "moesim run @s.json --set model=@other-model.json --out @other-model.json"})
    check_refused(project, line);
}

TEST_CASE("A file is known by any spelling and by any link") {
  const Project project;
  fs::create_symlink(project.at("s.json"), project.at("symbolic.json"));
  fs::create_symlink(project.at("new.json"), project.at("dangling.json"));
  fs::create_hard_link(project.at("model.json"), project.at("hard.json"));
  for (const std::string line :
       {"moesim run @s.json --out @./s.json", "moesim run @s.json --out @symbolic.json",
        "moesim run @symbolic.json --out @s.json", "moesim run @s.json --out @hard.json",
        "moesim run @s.json --out @new.json --trace @dangling.json",
        "cd @ && moesim run @s.json --out s.json"})
    check_refused(project, line);
}

TEST_CASE("No output is another output") {
  const Project project;
  for (const std::string line :
       {"moesim run @s.json --trace @x.json --out @x.json", "moesim schedule @s.json --svg @x --out @./x",
        "moesim search @s.json --svg @x --out @x", "moesim run @s.json --html @x --trace @x",
        "moesim compare @s.json --over batch.sequences=8 --html @x --out @x",
        "moesim calibrate --measurements @config.json --keep @x --out @x"})
    check_refused(project, line);
  CHECK(project.run("moesim run @s.json --trace /dev/null --out /dev/null").code == 0);
  CHECK(project.run("moesim schedule @s.json --svg - --out -").code == 0);
}

TEST_CASE("An output that has no place is refused before anything runs") {
  const Project project;
  for (const std::string line : {"moesim run @s.json --out ", "moesim run @s.json --out /dev/null --trace ",
                                 "moesim compare @s.json --over batch.sequences=8 --out "}) {
    INFO(line);
    const Outcome refused = project.run(line + "/nowhere/x");
    CHECK(refused.code == 2);
    CHECK(refused.out.empty());
    CHECK(refused.err == "error: /nowhere/x: cannot be written: No such file or directory\n");
  }
}
