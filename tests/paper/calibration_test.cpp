// The calibrations of a real H100 and a real H200 against what they were not fitted on: shapes off the grid,
// and whole blocks; and the kernels for what streams memory against a copy.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <string>

#include "models/config/document.hpp"
#include "models/cost/blocks.hpp"
#include "models/cost/calibrated.hpp"
#include "models/cost/op_line.hpp"

using namespace moesim;

namespace {

Value file_of(const std::string& name) {
  return load_document(MOESIM_SOURCE "/configs/calibration/" + name + ".json");
}

const Calibration& calibration(const std::string& device) {
  static std::map<std::string, Calibration> known;
  const auto [found, is_new] = known.try_emplace(device);
  if (is_new) {
    const Value document = file_of(device);
    Reader reader(document, "");
    found->second = read_calibration(reader);
  }
  return found->second;
}

double seconds(const Calibration& c, const Cost& cost, const Op& op) {
  return to_seconds(cost.time(op, c.device, 0).time);
}

}  // namespace

TEST_CASE("On H100 and H200 shapes off the grid are predicted as well as was asked for") {
  // Asked for over all shapes together: a median below 5 % and nine tenths below 12 %. These shapes were
  // drawn after the method was settled.
  for (const std::string device : {"h100", "h200"}) {
    const Errors& all = calibration(device).held_out;
    CHECK(all.shapes >= 300);
    CHECK(all.median < 0.05);
    CHECK(all.p90 < 0.12);
    for (const FamilyFit& fit : calibration(device).families) {
      if (fit.held_out.shapes < 10) continue;
      INFO(device << " " << name_of(fit.family));
      CHECK(fit.held_out.median < 0.05);
      CHECK(fit.held_out.p90 < 0.15);
    }
  }
}

TEST_CASE(
    "Grouped products fitted in two ways are predicted within 4 % at the median and 10 % for nine tenths") {
  for (const FamilyFit& fit : calibration("h100").families) {
    if (fit.family.kind != OpKind::grouped_gemm) continue;
    INFO(name_of(fit.family));
    CHECK(fit.held_out.median < 0.04);
    CHECK(fit.held_out.p90 < 0.1);
  }
}

TEST_CASE("Whole mixture-of-experts blocks take what their ops add up to, within a tenth") {
  for (const std::string device : {"h100", "h200"}) {
    const Value document = file_of("blocks-" + device);
    Reader reader(document, "");
    const Calibration& c = calibration(device);
    const std::unique_ptr<const Cost> cost = make_calibrated(c);
    const std::vector<MeasuredBlock> blocks = read_blocks(reader, c);
    for (const MeasuredBlock& block : blocks) {
      INFO(device << " " << block.block << " " << block.pass << " " << block.tokens << " " << block.in_loop);
      const double off = predict(block, *cost, c.device).seconds / block.seconds - 1;
      CHECK(std::abs(off) < (block.in_loop ? 0.13 : device == "h100" ? 0.1 : 0.04));
    }
    CHECK(blocks.size() == (device == "h100" ? 18 : 36));
  }
}

TEST_CASE("A shallow weight gradient on the H100 takes what the libraries were measured to take") {
  // The own kernel takes a quarter less, but computes products of several experts alone.
  const Calibration& c = calibration("h100");
  const Op shallow = make_gemm("", OpPass::backward_weight, 28672, 4096, 128, Precision::bf16);
  CHECK(seconds(c, *make_calibrated(c), shallow) == Approx(470.6e-6).epsilon(0.05));
}

TEST_CASE("What streams memory on the H100 takes at most 1.15 times as long as a copy of its bytes") {
  const Calibration& c = calibration("h100");
  const std::unique_ptr<const Cost> cost = make_calibrated(c);
  const Value document = file_of("h100");
  int shapes = 0, narrow = 0;
  for (const Value& line : document.find("measurements")->items) {
    Reader reader(line, "");
    const Op op = read_ops(reader).front();
    if (op.flops.count > 0 || op.kind == OpKind::copy || op.m < 8192) continue;
    const Op copy = make_streaming(OpKind::copy, "copy", OpPass::forward, op.bytes.count / 2, 1, 2);
    const double ratio = line.find("time_s")->number / seconds(c, *cost, copy);
    INFO(line.find("op")->text << " " << line.find("pass")->text << " " << op.m << " x " << op.n);
    ++shapes;
    // 256 tokens of 36 heads, and 8,192 rows of 512: a few microseconds.
    const bool is_narrow = op.kind == OpKind::rms_norm && op.pass != OpPass::forward && op.n <= 512;
    if (is_narrow && ratio > 1.15) {
      ++narrow;
      CHECK(ratio < 1.27);
    } else {
      CHECK(ratio < 1.16);  // of a copy as interpolated
    }
  }
  CHECK(shapes > 180);
  CHECK(narrow <= 2);
}
