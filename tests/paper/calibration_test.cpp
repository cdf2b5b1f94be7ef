// The calibration of a real H200 against what it was not fitted on: shapes off the grid, and whole blocks.
#include <catch2/catch.hpp>
#include <cmath>

#include "models/config/document.hpp"
#include "models/cost/calibrated.hpp"
#include "models/cost/op_line.hpp"

using namespace moesim;

namespace {

const Calibration& calibration() {
  static const Calibration read = [] {
    const Value document = load_document(MOESIM_SOURCE "/configs/calibration/h200.json");
    Reader reader(document, "");
    return read_calibration(reader);
  }();
  return read;
}

}  // namespace

TEST_CASE("On the H200 shapes off the grid are predicted as well as was asked for") {
  // Asked for over all shapes together: a median below 5 % and nine tenths below 12 %. These shapes were
  // drawn after the method was settled.
  const Errors& all = calibration().held_out;
  CHECK(all.shapes >= 300);
  CHECK(all.median < 0.05);
  CHECK(all.p90 < 0.12);
  for (const FamilyFit& fit : calibration().families) {
    if (fit.held_out.shapes < 10) continue;
    INFO(name_of(fit.family));
    CHECK(fit.held_out.median < 0.08);
    CHECK(fit.held_out.p90 < 0.14);
  }
}

TEST_CASE("Whole mixture-of-experts blocks on the H200 take what their ops add up to, within a tenth") {
  const Value document = load_document(MOESIM_SOURCE "/configs/calibration/blocks-h200.json");
  const std::unique_ptr<const Cost> cost = make_calibrated(calibration(), 1);
  int blocks = 0;
  for (const Value& block : document.find("devices")->items.at(0).find("blocks")->items) {
    double predicted = 0;
    for (const Value& line : block.find("ops")->items) {
      Reader reader(line, "");
      for (const Op& op : read_ops(reader))
        predicted += to_seconds(cost->time(op, calibration().device, 0).time);
    }
    const double measured = block.find("time_s")->number;
    INFO(block.find("block")->text << " " << block.find("pass")->text << " "
                                   << block.find("tokens")->integer);
    CHECK(std::abs(predicted / measured - 1) < 0.1);
    ++blocks;
  }
  CHECK(blocks == 18);
}
