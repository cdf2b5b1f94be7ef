// moesim cost and moesim calibrate as a user runs them.
#include <catch2/catch.hpp>

#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;
using Catch::Matchers::Contains;

TEST_CASE("moesim cost answers a question with its time, work and bound") {
  const Outcome one =
      run_moesim({"cost", "configs/calibration/h100.json", "gemm", "m=1000", "n=4096", "k=7168"});
  CHECK(one.code == 0);
  CHECK_THAT(one.out, Contains("gemm on H100: ") && Contains("bound by compute"));
  const Outcome grouped = run_moesim({"cost", "configs/devices/h200.json", "grouped_gemm",
                                      "rows=[100, 0, 28]", "n=4096", "k=7168", "--format", "json"});
  CHECK(grouped.code == 0);
  const Value answer = parse_json(grouped.out, "answer");
  CHECK(answer.find("flops")->number == Approx(2.0 * 128 * 4096 * 7168));
  CHECK(answer.find("time_s")->number > 0);
  CHECK(answer.find("bound_by")->text == "memory");
}

TEST_CASE("A batch of questions is answered line by line, each with what was asked") {
  const std::string questions =
      "{\"op\": \"gemm\", \"m\": 1000, \"n\": 4096, \"k\": 7168, \"precision\": \"bf16\"}\n\n"
      "{\"op\": \"router\", \"tokens\": 4096, \"experts\": 256, \"top_k\": 8, \"pass\": \"backward\", "
      "\"communication_sms\": 20}\n";
  const Outcome outcome = run_moesim({"cost", "configs/calibration/h200.json", "--batch", "-"}, questions);
  CHECK(outcome.code == 0);
  const std::vector<std::string> lines = lines_of(outcome.out);
  REQUIRE(lines.size() == 2);
  CHECK(parse_json(lines[0], "0").find("m")->integer == 1000);
  CHECK(parse_json(lines[1], "1").find("bytes")->number == Approx(4096.0 * (6 * 256 + 12 * 8)));
}

TEST_CASE("A wrong question to moesim cost is answered with its line, key and what is known") {
  const Outcome unknown = run_moesim({"cost", "configs/devices/h200.json", "gem", "m=1"});
  CHECK(unknown.code == 2);
  CHECK_THAT(unknown.err, Contains("op: unknown 'gem'") && Contains("did you mean 'gemm'?"));
  const Outcome missing =
      run_moesim({"cost", "configs/devices/h200.json", "--batch", "-"}, "{\"op\": \"gemm\", \"m\": 4}\n");
  CHECK(missing.code == 2);
  CHECK_THAT(missing.err, Contains("-:1") && Contains("n: "));
  CHECK(run_moesim({"cost", "configs/devices/h200.json"}).code == 2);
}

TEST_CASE("moesim calibrate refuses a file that holds no measurements, and writes nothing") {
  const Folder folder("calibrate");
  const std::string out = folder.at("calibration.json");
  const std::string foreign = folder.write(
      "foreign.json", R"({"schema": "moesim.measurements/1", "devices": [{"device": "Abacus"}]})");
  const Outcome outcome = run_moesim({"calibrate", "--measurements", foreign, "--out", out});
  CHECK(outcome.code == 2);
  CHECK_THAT(outcome.err, Contains("holds measurements of 'Abacus', of which configs/devices has no file"));
  CHECK_FALSE(std::filesystem::exists(out));
  CHECK(run_moesim({"calibrate", "--measurements", folder.write("broken.json", "{\"schema\": ")}).code == 2);
  const Outcome raw = run_moesim(
      {"cost", folder.write("raw.json", R"({"schema": "moesim.measurements/1"})"), "copy", "bytes=1"});
  CHECK(raw.code == 2);
  CHECK_THAT(raw.err, Contains("moesim calibrate --measurements FILE fits it"));
}

TEST_CASE("moesim calibrate without a GPU ends with 3 and one sentence") {
  if (run_shell("nvidia-smi -L").code == 0) {
    WARN("skipped: this machine has a GPU");
    return;
  }
  const Outcome outcome = run_moesim({"calibrate", "--out", "/dev/null"});
  CHECK(outcome.code == 3);
  CHECK(lines_of(outcome.err).size() == 1);
  CHECK_THAT(outcome.err, Contains("--measurements FILE fits what was measured elsewhere"));
}

TEST_CASE("Whole blocks are checked against a calibration") {
  const Outcome outcome =
      run_moesim({"calibrate", "--check", "--measurements", "configs/calibration/blocks-h200.json",
                  "--calibration", "configs/calibration/h200.json"});
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.out, Contains("qwen3-30b-a3b") && Contains("largest error"));
}
