// moesim validate and moesim import as programs: exit codes, and what they print where something is wrong.
#include <catch2/catch.hpp>

#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

/// A list of one group with one case: a pipeline of unit durations.
std::string cases(const std::string& more) {
  return R"({"groups": [{"name": "units", "scenario": "scenarios/dualpipe-8x20.json", "figure": "makespan",
    "source": "test", "tolerance": 0.01, "cases": [{"name": "66 units", )" +
         more + "}]}]}";
}

}  // namespace

TEST_CASE(
    "The published cases are within tolerance or known not to be, and no reason has outlived its case") {
  const Outcome outcome = run_moesim({"validate", "--format", "json"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const Value json = parse_json(outcome.out, "validate");
  for (const Value& one : member(json, {"cases"}).items) {
    INFO(member(one, {"name"}).text << ", " << member(one, {"figure"}).text);
    CHECK(one.find("failure") == nullptr);
    CHECK(!member(one, {"source"}).text.empty());
    CHECK((one.find("known") != nullptr) == !member(one, {"within"}).flag);
  }
  CHECK(member(json, {"cases"}).items.size() > 90);
}

TEST_CASE("A case that leaves its tolerance fails the command, and a known one does not") {
  const Folder folder("validate");
  const std::string good = folder.write("good.json", cases(R"("published": 66)"));
  CHECK(run_moesim({"validate", good}).code == 0);
  const Outcome out = run_moesim({"validate", folder.write("out.json", cases(R"("published": 60)"))});
  CHECK(out.code == 1);
  CHECK(out.out.find("OUT") != std::string::npos);
  CHECK(out.err ==
        "error: 1 of 1 cases are out of their tolerance, and nothing says that this is known: 66 units\n");
  const std::string known = folder.write("known.json", cases(R"("published": 60, "known": "a test")"));
  CHECK(run_moesim({"validate", known}).code == 0);
}

TEST_CASE("A ratio divides the figure by that of the scenario with more keys set") {
  const Folder folder("ratio");
  // Twice the microbatches take 20 x 3 units more: 66 over 126.
  const std::string file =
      folder.write("ratio.json", cases(R"("published": 0.5238, "over": {"pipeline.microbatches": 40})"));
  const Outcome outcome = run_moesim({"validate", file, "--format", "csv"});
  INFO(outcome.out << outcome.err);
  CHECK(outcome.out.find("units,66 units,makespan,,0.5238,0.5238") != std::string::npos);
}

TEST_CASE("What is wrong with a list of cases is said with its place") {
  const Folder folder("wrong");
  const auto refusal = [&](const std::string& more, const std::vector<std::string>& options = {}) {
    std::vector<std::string> arguments{"validate", folder.write("x.json", cases(more))};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Outcome outcome = run_moesim(arguments);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    return folder.shorten(outcome.err);
  };
  CHECK(refusal(R"("published": 66)", {"--group", "unit"}) ==
        "error: --group: unknown 'unit' (known: units; did you mean 'units'?)\n");
  CHECK(refusal(R"("published": 0)") ==
        "error: x.json: groups.0.cases.0.published: is 0, which has no relative error: expected "
        "\"absolute\": true\n");
  CHECK(refusal(R"("published": 66, "figure": "makespn")")
            .starts_with("error: x.json: groups.0.cases.0.figure: unknown 'makespn' (known: step, "));
  CHECK(refusal(R"("published": 66, "scenario": "none.json")").find("none.json") != std::string::npos);
  CHECK(refusal(R"("published": 66, "tolerence": 1)").find("did you mean 'tolerance'?") != std::string::npos);
}

TEST_CASE("A case whose run fails is a row with its error, and the others are judged") {
  const Folder folder("fails");
  const std::string file = folder.write(
      "x.json", cases(R"("published": 66}, {"name": "odd", "published": 1, "set": {"pipeline.stages": 7})"));
  const Outcome outcome = run_moesim({"validate", file});
  CHECK(outcome.code == 1);
  CHECK(outcome.out.find("failed") != std::string::npos);
  CHECK(outcome.out.find("1 of 2") != std::string::npos);
}

TEST_CASE("An imported model is a file that a run takes, and what was guessed is said beside it") {
  const Folder folder("import");
  const std::string file = folder.at("model.json");
  const Outcome imported = run_moesim({"import", "tests/support/hf/mixtral-8x7b.json", "--out", file});
  CHECK(imported.code == 0);
  CHECK(imported.out.empty());
  CHECK(imported.err ==
        "guessed: name: taken from model_type, 'mixtral'\n"
        "guessed: head_dim: not given, taken as hidden_size / num_attention_heads = 128\n"
        "mixtral: 46,702,792,704 (46.7 billion) parameters, 12,879,925,248 (12.88 billion) of them active "
        "per token, 12,748,853,248 (12.75 billion) without the input embedding\n");
  const Outcome run = run_moesim({"run", "scenarios/mixtral-8x7b-h100.json", "--set", "model=" + file});
  INFO(run.err);
  CHECK(run.code == 0);
  const auto fingerprint = [](const std::string& report) {
    return report.substr(report.find("fingerprint"));
  };
  CHECK(fingerprint(run.out) == fingerprint(run_moesim({"run", "scenarios/mixtral-8x7b-h100.json"}).out));
}

TEST_CASE("Import names the model as it is told to, from a file or from standard input") {
  const Outcome named =
      run_moesim({"import", "-", "--name", "mine", "--quiet"}, project_file("tests/support/hf/glm-4.5.json"));
  CHECK(named.code == 0);
  CHECK(named.err.empty());
  CHECK(parse_json(named.out, "model").find("name")->text == "mine");
}

TEST_CASE("A configuration that cannot be imported ends with code 2 and leaves no file") {
  const Folder folder("import-wrong");
  const std::string file = folder.at("model.json");
  const auto refusal = [&](const std::string& content) {
    const Outcome outcome = run_moesim({"import", folder.write("config.json", content), "--out", file});
    CHECK(outcome.code == 2);
    CHECK(project_file(file).empty());
    return folder.shorten(outcome.err);
  };
  CHECK(refusal(R"({"model_type": "bert"})")
            .starts_with("error: config.json: model_type: unknown 'bert' (known: deepseek_v2, "));
  CHECK(refusal("{\"model_type\": ").starts_with("error: config.json: line 1, column "));
  CHECK(run_moesim({"import", "no-such-file.json"}).code == 2);
}

TEST_CASE("Residuals that error bars are made of are those that moesim validate finds") {
  const Outcome outcome = run_moesim({"validate", "--residuals"});
  CHECK(outcome.code == 0);
  CHECK(first_difference(project_file("configs/validation/residuals.json"), outcome.out).empty());
}
