// moesim calibrate with a measuring program that is a script: what it does with how that ends.
#include <catch2/catch.hpp>
#include <filesystem>

#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;
using Catch::Matchers::Contains;

namespace {

/// Copies of 64 KiB to 1 GiB on devices that take `factors` times what the first would.
std::string measurements(const std::vector<double>& factors) {
  std::string devices;
  for (const double factor : factors) {
    std::string lines;
    for (long bytes = 1 << 16; bytes <= 1 << 30; bytes *= 4)
      lines += (lines.empty() ? "" : ", ") + std::string(R"({"op": "copy", "bytes": )") +
               std::to_string(bytes) + R"(, "time_s": )" +
               std::to_string(factor * (2e-6 + static_cast<double>(bytes) / 2e12)) + "}";
    devices += (devices.empty() ? "" : ", ") +
               std::string(R"({"device": "NVIDIA H200", "multiprocessors": 132, "measurements": [)") + lines +
               R"(], "links": [{"from": 0, "to": 1, "way": "peer", "bytes_per_second": 3.9e11, )"
               R"("both_ways_bytes_per_second": 3.8e11, "latency_s": 1.5e-6}], "not_measured": ["left out, )"
               R"(device memory is too small"]})";
  }
  return R"({"schema": "moesim.measurements/1", "mode": "quick", "devices": [)" + devices + "]}";
}

/// A script in place of moesim-measure; `$2` in it is the file that it should write.
std::string script(const Folder& folder, const std::string& text) {
  const std::string path = folder.write("measure", "#!/bin/sh\nshift\n" + text + "\n");
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

}  // namespace

TEST_CASE("moesim calibrate fits what the measuring program writes, and says what was not measured") {
  const Folder folder("calibrate-fits");
  const std::string raw = folder.write("raw.json", measurements({1}));
  const std::string out = folder.at("calibration.json");
  const Outcome outcome =
      run_moesim({"calibrate", "--program", script(folder, "cp " + raw + " \"$2\""), "--out", out});
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.err, Contains("copy forward bf16") && Contains("390.0 GB/s") && Contains("1.50 us"));
  const Outcome cost = run_moesim({"cost", out, "copy", "bytes=67108864"});
  CHECK(cost.code == 0);
  CHECK_THAT(run_shell("cat " + out).out, Contains("left out, device memory is too small"));
}

TEST_CASE("moesim calibrate over several devices names the odd one") {
  const Folder folder("calibrate-odd");
  const std::string raw = folder.write("raw.json", measurements({1, 1.01, 1.2, 1}));
  const Outcome outcome = run_moesim({"calibrate", "--measurements", raw, "--out", "/dev/null"});
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.err, Contains("<- the odd one"));
  for (const std::string& line : lines_of(outcome.err))
    if (line.find("odd one") != std::string::npos) CHECK_THAT(line, Contains("device 2: +"));
}

TEST_CASE("moesim calibrate that is interrupted ends after its measuring program and writes nothing") {
  const Folder folder("calibrate-interrupted");
  const std::string out = folder.at("calibration.json"), pid = folder.at("pid");
  const std::string program = script(folder, "trap 'exit 130' INT\necho $$ > " + pid + ".part; mv " + pid +
                                                 ".part " + pid + "\nsleep 20 & wait");
  const Outcome outcome = run_shell(
      "moesim calibrate --program " + program + " --out " + out + " & job=$!; while [ ! -e " + pid +
      " ]; do sleep 0.02; done; kill -INT $(cat " + pid + "); kill -INT $job; wait $job; echo ended with $?");
  CHECK_THAT(outcome.out, Contains("ended with 1"));
  CHECK_THAT(outcome.err, Contains("interrupted: nothing was written"));
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("moesim calibrate tells a machine without a GPU from a program that fails or is not there") {
  const Folder folder("calibrate-codes");
  const Outcome missing = run_moesim({"calibrate", "--program", script(folder, "exit 3")});
  CHECK(missing.code == 3);
  CHECK_THAT(missing.err, Contains("no GPU that moesim-measure can use"));
  const Outcome absent = run_moesim({"calibrate", "--program", folder.at("nothing")});
  CHECK(absent.code == 3);
  CHECK_THAT(absent.err, Contains("moesim-measure is not built here"));
  const Outcome failed = run_moesim({"calibrate", "--program", script(folder, "exit 1")});
  CHECK(failed.code == 1);
  CHECK_THAT(failed.err, Contains("moesim-measure ended with 1"));
}

TEST_CASE(
    "moesim calibrate adds how kernels of common software take to a calibration, and says of which it "
    "knows") {
  const Folder folder("calibrate-accesses");
  std::string lines;
  for (long elements = 1 << 12; elements <= 1 << 28; elements *= 4)
    lines += (lines.empty() ? "" : ", ") +
             std::string(R"({"op": "streaming", "access": "copy", "elements": )") + std::to_string(elements) +
             R"(, "bytes": )" + std::to_string(4 * elements) + R"(, "time_s": )" +
             std::to_string(5e-6 + static_cast<double>(elements) / 1e12) + "}";
  const std::string raw = folder.write(
      "raw.json",
      R"({"schema": "moesim.measurements/1", "mode": "full", "devices": [{"device": "NVIDIA H200", )"
      R"("multiprocessors": 132, "measurements": [)" +
          lines + "]}]}");
  const std::string with = MOESIM_SOURCE "/configs/calibration/h100.json",
                    out = folder.at("calibration.json");
  const Outcome other = run_moesim({"calibrate", "--measurements", raw, "--calibration", with, "--out", out});
  CHECK(other.code == 2);
  CHECK_THAT(other.err, Contains("but the calibration is of H100"));
  const Outcome outcome = run_moesim({"calibrate", "--measurements", raw, "--out", out});
  CHECK(outcome.code == 0);
  CHECK_THAT(outcome.err, Contains("as assumed, not measured: vectorised, one_read"));
  const Outcome cost =
      run_moesim({"cost", out, "streaming", "access=copy", "elements=16777216", "bytes=67108864"});
  CHECK_THAT(cost.out, Contains("bound by memory") && !Contains("extrapolated"));
  const Outcome check = run_moesim({"calibrate", "--check", "--measurements", raw, "--calibration", out});
  CHECK_THAT(check.out, Contains("copy ") && !Contains("as assumed"));
}
