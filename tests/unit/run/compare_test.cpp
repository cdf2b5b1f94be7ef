#include "sim/run/compare.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "models/base/error.hpp"
#include "tests/support/folder.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

std::vector<std::string> values_of(const std::string& argument) {
  std::vector<std::string> texts;
  for (const Value& value : parse_varied_key(argument).values) texts.push_back(print(value));
  return texts;
}

std::string message_of(auto action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// Two ranks with two microbatches, a second for F and one each for B and W.
std::string write_pipeline(const Folder& folder) {
  return folder.write("pipeline.json", R"({"about": "Two ranks", "pipeline": {"stages": 2, "microbatches": 2},
    "schedule": {"kind": "gpipe"},
    "cost": {"kind": "fixed", "forward": "1 s", "backward_input": "1 s", "backward_weight": "1 s"}})");
}

Comparison compare_kinds(const std::string& path, const std::string& kinds) {
  return compare(
      {.path = path, .overrides = {}, .keys = {parse_varied_key("schedule.kind=" + kinds)}, .jobs = 2});
}

ComparedRun run_of(std::int64_t tokens, Time step, std::int64_t memory) {
  Report report;
  report.step_time = step;
  report.tokens = tokens;
  report.devices = 1;
  report.memory_capacity = 100_B;
  report.memory.push_back({.parameters = {memory},
                           .gradients = {},
                           .optimizer = {},
                           .activations = {},
                           .buffers = {},
                           .driver = {},
                           .channels = {}});
  return {.values = {}, .report = report, .error = {}, .relative = 0};
}

Comparison ranked(std::vector<ComparedRun> runs) {
  Comparison comparison{
      .about = {}, .title = {}, .keys = {}, .runs = std::move(runs), .best = {}, .is_by_token = false};
  rank_runs(comparison);
  return comparison;
}

}  // namespace

TEST_CASE("Values of --over are split at commas, but not inside quotes and brackets") {
  CHECK(values_of("schedule.kind=1f1b,zb_h1") == std::vector<std::string>{"\"1f1b\"", "\"zb_h1\""});
  CHECK(values_of("parallelism.pipeline=2,4,8") == std::vector<std::string>{"2", "4", "8"});
  CHECK(values_of(R"(a.b=[4,4,3],"x,\"y",{"k":[1,2]})") ==
        std::vector<std::string>{"[4,4,3]", R"("x,\"y")", R"({"k":[1,2]})"});
}

TEST_CASE("An --over without key, values or with an empty value is an error") {
  const std::string expected = ": expected KEY=VALUE,VALUE,..., as --over schedule.kind=1f1b,zb_h1";
  for (const std::string wrong : {"x", "=1", "x="}) {
    CHECK(message_of([&] { parse_varied_key(wrong); }) == "--over " + wrong + expected);
  }
  CHECK(message_of([] { parse_varied_key("x=1,,2"); }) == "--over x=1,,2: has an empty value");
}

TEST_CASE("A comparison of schedules gives the closed forms, and a kind that fails is a row of its own") {
  const Folder folder("compare");
  const Comparison comparison = compare_kinds(write_pipeline(folder), "sequential,gpipe,nope");
  // GPipe: (m + p - 1)(F + B + W) = 9 s; one microbatch at a time: m p (F + B + W) = 12 s.
  CHECK(write(tell(comparison), "csv") ==
        "schedule.kind,step_time_s,tokens_per_s_per_device,mfu,bubble_fraction,exposed_communication_s,"
        "peak_memory,fits,relative,error,bubble_mean,plan\n"
        "sequential,12,,,0.5,0,,,1.3333333333333333,,0.5,"
        "\"PP 2, sequential, 2 microbatches of given durations, moesim 0.3\"\n"
        "gpipe,9,,,0.3333333333333333,0,,,1,,0.3333333333333333,"
        "\"PP 2, gpipe, 2 microbatches of given durations, moesim 0.3\"\n"
        "nope,,,,,,,,,\"--over: schedule.kind: unknown 'nope' (known: sequential, gpipe, 1f1b, interleaved, "
        "looped_bfs, zb_h1, zb_h2, zb_interleaved, zb_v, v_half, v_min, zb_auto, chimera, dualpipe, "
        "dualpipev)\",,\n");
  CHECK(write(tell(compare_kinds(write_pipeline(folder), "sequential,gpipe")), "text") ==
        "Two ranks\nPP 2, 2 microbatches of given durations, moesim 0.3\n\n"
        "  schedule.kind  step time  relative   bubble  exposed comm.\n"
        "  sequential          12 s     1.333  50.00 %            0 s\n"
        "* gpipe                9 s     1.000  33.33 %            0 s\n\n"
        "* best; relative: step time over that of the best\n");
}

TEST_CASE("A comparison says what kernels take by class where that differs, and only there") {
  const auto text_of = [](const std::string& over) {
    const CompareRequest request{.path = "scenarios/validation/hugging-face-h200.json",
                                 .overrides = {},
                                 .keys = {parse_varied_key(over)},
                                 .jobs = 1};
    return write(tell(compare(request)), "text");
  };
  const std::string differs = text_of("software.kind=ideal,hugging_face");
  const std::size_t place = differs.find("\ntime by class of kernel, mean over devices\n\n  software.kind");
  REQUIRE(place != std::string::npos);
  CHECK(differs.find("\n  hugging_face", place) != std::string::npos);
  CHECK(text_of("schedule.kind=1f1b,gpipe").find("time by class of kernel") == std::string::npos);
}

TEST_CASE("A comparison shows the columns that are asked for, and only those") {
  const Folder folder("compare-columns");
  Comparison comparison = compare_kinds(write_pipeline(folder), "sequential,gpipe");
  comparison.columns = facts_named("bubble_mean,pipeline.makespan_s", "--columns");
  CHECK(write(tell(comparison), "csv") ==
        "schedule.kind,bubble_mean,makespan_s,error\nsequential,0.5,12,\ngpipe,0.3333333333333333,9,\n");
  CHECK(write(tell(comparison), "text") ==
        "Two ranks\nPP 2, 2 microbatches of given durations, moesim 0.3\n\n"
        "  schedule.kind   bubble  end of the passes\n"
        "  sequential     50.00 %               12 s\n"
        "* gpipe          33.33 %                9 s\n");
  const auto json = nlohmann::json::parse(write(tell(comparison), "json"));
  CHECK(json.at("runs").at(1).at("makespan_s") == 9.0);
  CHECK_FALSE(json.at("runs").at(1).contains("step_time_s"));
  CHECK(message_of([] {
          facts_named("mfu,bubbles", "--columns");
        }).starts_with("--columns: unknown 'bubbles'"));
  CHECK(message_of([] { facts_named("memory.per_stage", "--columns"); }).starts_with("--columns: unknown"));
}

TEST_CASE("A comparison as JSON leaves out what does not apply") {
  const Folder folder("compare-json");
  const auto json = nlohmann::json::parse(
      write(tell(compare_kinds(write_pipeline(folder), "gpipe,zb_v,dualpipe")), "json"));
  CHECK(json.at("schema") == "moesim.compare/1");
  CHECK(json.at("over") == nlohmann::json{"schedule.kind"});
  const auto& run = json.at("runs").at(0);
  CHECK(run.at("values").at("schedule.kind") == "gpipe");
  CHECK(run.at("step_time_s") == 9.0);
  CHECK_FALSE(run.contains("mfu"));
  CHECK_FALSE(run.contains("peak_memory"));
  int best = 0;
  for (const auto& one : json.at("runs")) {
    CHECK(one.contains("error") != one.contains("step_time_s"));
    best += one.contains("best") && one.at("best") == true ? 1 : 0;
  }
  CHECK(best == 1);
}

TEST_CASE("A comparison over several keys is their product, whatever the number of jobs") {
  CompareRequest request{.path = "scenarios/zero-bubble-6.2b.json",
                         .overrides = {parse_override("pipeline.stages=4")},
                         .keys = {parse_varied_key("pipeline.microbatches=8,16"),
                                  parse_varied_key("schedule.kind=gpipe,1f1b,zb_h1")},
                         .jobs = 1};
  const Comparison alone = compare(request);
  REQUIRE(alone.runs.size() == 6);
  CHECK(print(alone.runs[4].values[0]) == "16");
  CHECK(print(alone.runs[4].values[1]) == "\"1f1b\"");
  request.jobs = 5;
  CHECK(write(tell(compare(request)), "json") == write(tell(alone), "json"));
}

TEST_CASE("A file that cannot be read and a key that is varied twice are errors of the whole comparison") {
  CHECK(message_of([] { compare_kinds("nowhere.json", "gpipe"); }) == "nowhere.json: no such file");
  CompareRequest request{.path = "scenarios/zero-bubble-6.2b.json",
                         .overrides = {},
                         .keys = {parse_varied_key("a=1"), parse_varied_key("a=2")},
                         .jobs = 1};
  CHECK(message_of([&] { compare(request); }) == "--over a: is given twice");
}

TEST_CASE("The best run is the fastest of those that fit in memory") {
  const Comparison some = ranked({run_of(10, 2_s, 100), run_of(10, 1_s, 101), run_of(10, 3_s, 99)});
  CHECK(some.best == 0);
  CHECK(some.runs[1].relative == 0.5);
  CHECK(some.runs[2].relative == 1.5);
  CHECK(ranked({run_of(10, 2_s, 101), run_of(10, 1_s, 101)}).best == 1);
}

TEST_CASE("Runs with unequal batches are compared by the time of a token, and ties go to the first") {
  const Comparison comparison = ranked({run_of(10, 1_s, 1), run_of(40, 2_s, 1), run_of(40, 2_s, 1)});
  CHECK(comparison.is_by_token);
  CHECK(comparison.best == 1);
  CHECK(comparison.runs[0].relative == 2);
}
