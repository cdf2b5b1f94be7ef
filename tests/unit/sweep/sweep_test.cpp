#include "sim/sweep/sweep.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "sim/sweep/crew.hpp"
#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

const std::string pipeline = "scenarios/dualpipe-8x20.json";
const std::string microbatches = "pipeline.microbatches=";
const std::string keys = R"(["pipeline.microbatches"])";  // as the file has them

/// A sweep's rows, and what was run and what was found in the file.
struct Swept {
  SweepPlan plan;
  std::string csv, lines;
  SweepProgress last{};
};

Swept swept(const std::vector<std::string>& over, const std::string& path = ":memory:", unsigned jobs = 1,
            std::size_t most = 1000) {
  SweepRequest request{
      .path = std::string(MOESIM_SOURCE "/") + pipeline, .overrides = {}, .axes = {}, .jobs = jobs};
  for (const std::string& key : over) request.axes.push_back({parse_swept_key(key)});
  Swept result{.plan = plan_sweep(request), .csv = {}, .lines = {}};
  Results results = open_results(result.plan, path);
  Crew crew(result.plan, jobs);
  const SweptPoints points =
      sweep(result.plan, results, crew, [&](const SweepProgress& progress, const auto&, const auto&) {
        result.last = progress;
        return progress.done - progress.found < most;
      });
  result.csv = write(tell(points), "csv");
  result.lines = write(tell(points), "json");
  return result;
}

std::string rows(const Swept& swept) { return swept.csv; }

std::vector<std::string> command(const std::string& over, const std::string& out) {
  return {"sweep", pipeline, "--over", over, "--out", out, "--csv", "-"};
}

}  // namespace

TEST_CASE("A sweep has a row for each point, in order, and a row with its error for one that fails") {
  const Swept result = swept({"schedule.kind=dualpipe,gpipe", microbatches + "19..20"});
  CHECK(result.last.points == 4);
  CHECK(result.last.found == 0);
  const std::vector<std::string> lines = lines_of(rows(result));
  REQUIRE(lines.size() == 5);
  CHECK(lines[0] ==
        "schedule.kind,pipeline.microbatches,step_time_s,tokens_per_s_per_device,mfu,bubble_fraction,"
        "exposed_communication_s,peak_memory,fits,error,bubble_mean,plan");
  CHECK(lines[1].starts_with("dualpipe,19,,,,,,,,"));
  CHECK(lines[1].find("19") != lines[1].rfind("19"));  // the error names it
  CHECK(lines[2].starts_with("dualpipe,20,66"));
  CHECK(lines[3].starts_with("gpipe,19,78"));  // (19 + 8 - 1) x (1 + 2) units
  CHECK(lines[4].starts_with("gpipe,20,81"));
  const std::string plan = R"(,"PP 8, gpipe, 20 microbatches of given durations, moesim 0.3")";
  CHECK(lines[4].ends_with(plan));
  CHECK(lines_of(result.lines).size() == 4);
}

TEST_CASE("The rows do not depend on the number of jobs") {
  const std::vector<std::string> over{"schedule.kind=dualpipe,gpipe,1f1b", microbatches + "16..22 step 2"};
  const Swept alone = swept(over), two = swept(over, ":memory:", 2), many = swept(over, ":memory:", 50);
  CHECK(rows(alone) == rows(two));
  CHECK(rows(alone) == rows(many));
  CHECK(alone.lines == two.lines);
}

TEST_CASE("A sweep that was stopped goes on with what is missing, and ends as one that was not") {
  const Folder folder("sweep-resume");
  const std::vector<std::string> over{microbatches + "16..24 step 2"};
  const Swept stopped = swept(over, folder.at("results"), 1, 2);
  CHECK(stopped.last.done == 2);
  CHECK(lines_of(rows(stopped)).size() == 3);
  const Swept resumed = swept(over, folder.at("results"));
  CHECK(resumed.last.found == 2);
  CHECK(resumed.last.done == 5);
  CHECK(rows(resumed) == rows(swept(over)));
  CHECK(swept(over, folder.at("results")).last.found == 5);
}

TEST_CASE("More values of the same keys add to the file, errors are kept as well") {
  const Folder folder("sweep-add");
  swept({microbatches + "17,18"}, folder.at("results"));  // 17 is odd, which DualPipe refuses
  const Swept more = swept({microbatches + "16..19"}, folder.at("results"));
  CHECK(more.last.found == 2);
  CHECK(rows(more) == rows(swept({microbatches + "16..19"})));
}

TEST_CASE("A file of results of another sweep or version, and a damaged one, are refused and left alone") {
  const Folder folder("sweep-other");
  const std::string out = folder.at("results");
  REQUIRE(run_moesim(command(microbatches + "18,20", out)).code == 0);
  const auto refusal = [&](const std::vector<std::string>& arguments) {
    const Outcome outcome = run_moesim(arguments);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    return folder.shorten(lines_of(outcome.err).at(0));
  };
  CHECK(refusal(command("schedule.kind=gpipe,1f1b", out)) ==
        "error: results: holds the results of another sweep: its keys differ");
  std::vector<std::string> other = command(microbatches + "18,20", out);
  other.insert(other.end(), {"--set", "cost.forward=2 s"});
  CHECK(refusal(other) == "error: results: holds the results of another sweep: its scenario differs");
  CHECK(run_moesim(command(microbatches + "18,20", out)).code == 0);

  std::string bytes = read_file(out);
  const std::string version = "version" + lines_of(run_moesim({"--version"}).out).at(0).substr(7);
  REQUIRE(bytes.find(version) != std::string::npos);
  bytes[bytes.find(version) + 7] = '9';  // SQLite stores the texts of a row one after the other
  CHECK(refusal(command(microbatches + "18,20", folder.write("old", bytes)))
            .starts_with("error: old: holds results of another version than moesim "));

  std::fstream file(out, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(0, std::ios::end);
  const std::streamoff size = file.tellp();
  REQUIRE(size > 4096);
  for (std::streamoff at = 4096; at < size; ++at) {
    file.seekp(at);
    file.put('\x5a');
  }
  file.close();
  CHECK(refusal(command(microbatches + "18,20", out)) == "error: results: is damaged, or no file of results");
  const std::string text = folder.write("text", std::string(5000, 'x'));
  CHECK(refusal(command(microbatches + "18,20", text)) == "error: text: is damaged, or no file of results");
  CHECK(refusal(command(microbatches + "18,20", "-")).starts_with("error: --out -: "));
}

TEST_CASE("A changed file of a part makes another sweep") {
  const Folder folder("sweep-part");
  const auto write = [&](const std::string& forward) {
    folder.write("cost.json", R"({"kind": "fixed", "forward": ")" + forward +
                                  R"(", "backward_input": "1 s", "backward_weight": "1 s"})");
  };
  write("1 s");
  const std::string path =
      folder.write("x.json", R"({"pipeline": {"stages": 2, "microbatches": 2}, "schedule": {"kind": "gpipe"},
      "cost": "cost.json", "sweep": {"pipeline.microbatches": "1..2"}})");
  const std::vector<std::string> arguments{"sweep", path, "--out", folder.at("results")};
  CHECK(run_moesim(arguments).code == 0);
  CHECK(run_moesim(arguments).code == 0);
  write("2 s");
  CHECK(run_moesim(arguments).code == 2);
}

TEST_CASE("The command line's axes come after those of the scenario, of which a run needs nothing") {
  const Folder folder("sweep-own");
  const std::string head = R"({"pipeline": {"stages": 2, "microbatches": 2}, "schedule": {"kind": "gpipe"},
    "cost": {"kind": "fixed", "forward": "1 s", "backward_input": "1 s", "backward_weight": "1 s"}, "sweep": )";
  const std::string good = folder.write("good.json", head + R"({"pipeline.microbatches": "1..2"}})");
  const std::string bad = folder.write("bad.json", head + R"({"pipeline.microbatches": "2..1"}})");
  const Outcome two = run_moesim({"sweep", good, "--over", "pipeline.stages=1,2"});
  CHECK(two.code == 0);
  const std::vector<std::string> lines = lines_of(two.out);
  REQUIRE(lines.size() == 5);
  CHECK(lines[0].starts_with("pipeline.microbatches,pipeline.stages,step_time_s"));
  CHECK(lines[2].starts_with("1,2,6"));
  CHECK(lines[3].starts_with("2,1,6"));
  CHECK(run_moesim({"run", good}).code == 0);
  const Outcome refused = run_moesim({"run", bad});
  CHECK(refused.code == 2);
  CHECK(folder.shorten(refused.err) ==
        "error: bad.json: sweep.pipeline.microbatches: '2..1' never comes to its end\n");
  CHECK(run_moesim({"sweep", pipeline}).code == 2);  // varies nothing
}

TEST_CASE("Zipped keys change together, and a dry run counts points without running any") {
  const Outcome zipped = run_moesim({"sweep", pipeline, "--zip", "--over", microbatches + "16,18", "--over",
                                     "pipeline.stages=6,8", "--dry-run"});
  CHECK(zipped.code == 0);
  CHECK(zipped.out ==
        "2 points\nfirst: pipeline.microbatches=16, pipeline.stages=6\n"
        "last:  pipeline.microbatches=18, pipeline.stages=8\n");
  CHECK(run_moesim({"sweep", pipeline, "--over", microbatches + "8..4"}).code == 2);
}

TEST_CASE("A sweep of which every point fails ends with 1, and still has its rows") {
  const Outcome outcome = run_moesim({"sweep", pipeline, "--over", microbatches + "17,19"});
  CHECK(outcome.code == 1);
  CHECK(lines_of(outcome.out).size() == 3);
  CHECK(outcome.err.starts_with("error: all 2 points failed, the first with: "));
}

TEST_CASE("Two sweeps do not write to one file, and others may read it meanwhile") {
  const Folder folder("sweep-lock");
  const std::string out = folder.at("results");
  REQUIRE(run_moesim(command(microbatches + "18,20", out)).code == 0);
  const SweepPlan plan = swept({microbatches + "18,20"}).plan;
  const Results first(out, plan.base, keys);
  const Outcome second = run_moesim(command(microbatches + "18,20", out));
  CHECK(second.code == 1);
  CHECK(folder.shorten(second.err) == "error: results: another sweep writes to it\n");
  CHECK(first.known().size() == 2);
}

TEST_CASE("Whatever ends a sweep, what was finished is kept and the next start goes on") {
  const Folder folder("sweep-ends");
  const std::string over = "'pipeline.microbatches=16..96 step 2'";
  const std::string line = "moesim sweep " + pipeline + " --over " + over + " --csv - --out ";
  const std::string whole = run_shell(line + folder.at("whole")).out;
  REQUIRE(lines_of(whole).size() == 42);
  const auto known = [&](const std::string& results) {
    const SweepPlan plan = swept({microbatches + "16..96 step 2"}).plan;
    return Results(results, plan.base, keys).known().size();
  };
  SECTION("a full disk") {
    const Outcome full = run_shell("ulimit -f 64; " + line + folder.at("full"));
    INFO(full.err);
    CHECK(full.code == 1);
    CHECK(folder.shorten(full.err).starts_with("error: full: "));
    CHECK(known(folder.at("full")) > 0);
    CHECK(known(folder.at("full")) < 41);
    CHECK(run_shell(line + folder.at("full")).out == whole);
  }
  SECTION("a signal, of Ctrl-C or of who kills") {
    for (const std::string signal : {"INT", "TERM", "KILL"}) {
      INFO(signal);
      const std::string out = folder.at(signal);
      const std::string program = std::string("'") + MOESIM_PROGRAM + "'" + line.substr(6);
      const Outcome ended = run_shell("timeout -s " + signal + " 0.15 " + program + out + " --jobs 1");
      CHECK(folder.shorten(run_shell(line + out).out) == whole);
      if (ended.code == 1) CHECK(ended.err == "error: stopped; the same command goes on\n");
    }
  }
}

TEST_CASE("A point whose process is killed is tried again by the next start, the others are not") {
  const Folder folder("sweep-killed");
  const std::string line =
      " sweep " + pipeline +
      " --set schedule.kind=gpipe --over pipeline.microbatches=16,1000000,18 --csv - --out " +
      folder.at("results");
  // At the hard limit of processor time the system kills.
  const Outcome killed =
      run_shell(std::string("bash -c 'ulimit -t 1; exec \"$0\" \"$@\"' ") + MOESIM_PROGRAM + line);
  INFO(killed.out << killed.err);
  CHECK(killed.code == 0);
  CHECK(lines_of(killed.out).at(2) == "1000000,,,,,,,,the worker ended by signal 9,,");
  const SweepRequest request{.path = MOESIM_SOURCE "/" + pipeline,
                             .overrides = {parse_override("schedule.kind=gpipe")},
                             .axes = {{parse_swept_key(microbatches + "16,1000000,18")}}};
  CHECK(Results(folder.at("results"), plan_sweep(request).base, keys).known().size() == 2);
}

TEST_CASE("A terminal shows points done, their rate, the time left and the best so far") {
  const Outcome shown =
      run_shell("script -qec \"$(printf '%q ' '" MOESIM_PROGRAM "' sweep " + pipeline +
                " --over 'pipeline.microbatches=16..20 step 2' --csv /dev/null)\" /dev/null");
  INFO(shown.out << shown.err);
  CHECK(shown.out.find("3 of 3 points, ") != std::string::npos);
  CHECK(shown.out.find("/s, 0 s left; best step_time_s 54: pipeline") != std::string::npos);
}

TEST_CASE("Where a value is a file that has changed, its points run again and the others do not") {
  const Folder folder("sweep-value");
  const auto write = [&](const std::string& name, int forward) {
    return folder.write(name, fmt::format(R"({{"kind": "fixed", "forward": "{} s", "backward_input": "1 s",
                                         "backward_weight": "1 s"}})",
                                          forward));
  };
  const std::string costs = write("a.json", 1) + "," + write("b.json", 2);
  const std::string line = fmt::format(
      "moesim sweep {} --set schedule.kind=gpipe --set pipeline.microbatches=2 --set pipeline.stages=2 "
      "--over "
      "cost={} --csv - --out {}",
      pipeline, costs, folder.at("results"));
  const std::string before = run_shell(line).out;
  REQUIRE(lines_of(before).size() == 3);
  CHECK(run_shell(line).out == before);
  write("b.json", 3);
  const std::string after = run_shell(line).out;
  CHECK(lines_of(after).at(1) == lines_of(before).at(1));
  CHECK(lines_of(before).at(2).find(".json,12.0,") != std::string::npos);  // (2 + 2 - 1) x (2 + 1 + 1) s
  CHECK(lines_of(after).at(2).find(".json,15.0,") != std::string::npos);
  write("b.json", 2);
  CHECK(run_shell(line).out == before);
}

namespace {

/// Workers of which each point is killed.
class Doomed final : public Workers {
 public:
  bool is_free(std::size_t) const override { return points_.empty(); }
  std::size_t count() const override { return points_.size(); }
  void add(std::size_t point) override { points_.push_back(point); }
  std::vector<FinishedPoint> wait() override {
    FinishedPoint killed{.point = points_.back(),
                         .result = {.scenario = {}, .report = {}, .error = "killed"},
                         .is_final = false};
    points_.clear();
    return {killed};
  }

 private:
  std::vector<std::size_t> points_;
};

std::string csv_of_doomed(std::size_t most) {
  const SweepPlan plan = plan_sweep({.path = MOESIM_SOURCE "/" + pipeline,
                                     .overrides = {},
                                     .axes = {{parse_swept_key(microbatches + "16,18")}}});
  Results results = open_results(plan, ":memory:");
  Doomed workers;
  const SweptPoints points =
      sweep(plan, results, workers,
            [&](const SweepProgress& progress, const auto&, const auto&) { return progress.done < most; });
  return write(tell(points), "csv");
}

}  // namespace

TEST_CASE("A sweep that is stopped has no row for a point that was killed") {
  CHECK(lines_of(csv_of_doomed(10)).size() == 3);
  CHECK(lines_of(csv_of_doomed(1)).size() == 1);
}

TEST_CASE("Outputs that destroy each other or have no place are refused before anything runs") {
  const Folder folder("sweep-outputs");
  const std::string scenario = folder.write("x.json", project_file(pipeline));
  const auto refusal = [&](const std::vector<std::string>& outputs) {
    std::vector<std::string> arguments{"sweep", scenario, "--over", microbatches + "16,18"};
    arguments.insert(arguments.end(), outputs.begin(), outputs.end());
    const Outcome outcome = run_moesim(arguments);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    return folder.shorten(outcome.err);
  };
  const std::string z = folder.at("z"), nowhere = folder.at("") + "none/z";
  CHECK(refusal({"--out", z, "--csv", z}) == "error: --csv z: is the file of --out already\n");
  CHECK(refusal({"--json-lines", z, "--svg", folder.at("") + "./z"}).ends_with("of --json-lines already\n"));
  CHECK(refusal({"--csv", scenario}) == "error: --csv x.json: is the file of SCENARIO already\n");
  CHECK(refusal({"--csv", z, "--svg", nowhere}) ==
        "error: none/z: cannot be written: No such file or directory\n");
  CHECK(!std::ifstream(z));
  CHECK(run_moesim({"sweep", scenario, "--over", microbatches + "16", "--csv", "/dev/null", "--json-lines",
                    "/dev/null"})
            .code == 0);
}

TEST_CASE("A key of --over that no part knows is refused, and an unknown value is a row") {
  for (const std::string option : {"--dry-run", "--quiet"}) {
    const Outcome outcome = run_moesim({"sweep", pipeline, "--over", "pipeline.microbatch=16,18", option});
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.starts_with("error: --over: pipeline.microbatch: unknown key (known: "));
  }
  CHECK(run_moesim({"sweep", pipeline, "--over", "schedule.kind=gpip,gpipe"}).code == 0);
}

TEST_CASE("Rows are printed beside the file that has them, and a picture of failures only hides no error") {
  const Folder folder("sweep-beside");
  const std::vector<std::string> arguments{"sweep",    pipeline, "--over", microbatches + "16,18",
                                           "--format", "csv",    "--csv",  folder.at("rows")};
  const std::string printed = run_moesim(arguments).out;
  CHECK(printed == read_file(folder.at("rows")));
  const Outcome failed =
      run_moesim({"sweep", pipeline, "--over", microbatches + "17,19", "--svg", folder.at("picture")});
  CHECK(failed.code == 1);
  CHECK(failed.err.starts_with("error: all 2 points failed, the first with: "));
}
