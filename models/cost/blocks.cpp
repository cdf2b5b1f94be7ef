#include "models/cost/blocks.hpp"

#include <fmt/format.h>

#include "models/cost/op_line.hpp"
#include "models/cost/power.hpp"

namespace moesim {
namespace {

/// Ops one after the other, over and over.
class Loop {
 public:
  Loop(const std::vector<Op>& ops, const Cost& cost, const Device& device)
      : ops_(ops), cost_(cost), device_(device) {}
  double seconds(double clock) const {
    double sum = 0;
    for (const Op& op : ops_) sum += to_seconds(cost_.time(op, device_, {0, clock}).time);
    return sum;
  }
  /// Where the device's power settles; the full clock where it is not known.
  double clock() const {
    if (!device_.power) return 1;
    return settled_clock(device_, [this](double clock) {
      Energy energy;
      double sum = 0;
      for (const Op& op : ops_) {
        const Time time = cost_.time(op, device_, {0, clock}).time;
        energy += drawn(op, time, device_, clock);
        sum += to_seconds(time);
      }
      return device_.power->idle + Power{energy.count / sum};
    });
  }

 private:
  const std::vector<Op>& ops_;
  const Cost& cost_;
  const Device& device_;
};

MeasuredBlock read_block(Reader& reader) {
  MeasuredBlock block;
  for (Reader& item : reader.items("ops", "what the block is made of")) {
    for (Op& op : read_ops(item)) block.ops.push_back(std::move(op));
    item.finish();
  }
  block.seconds = reader.number({.name = "time_s", .help = "measured", .at_least = 1e-9});
  block.block = reader.text({.name = "block", .help = "its model"});
  block.pass = reader.text({.name = "pass", .help = "direction"});
  block.tokens = reader.integer({.name = "tokens", .help = "rows"});
  block.in_loop = reader.flag(
      {.name = "in_loop", .help = "whether the device did not rest meanwhile", .fallback = false});
  return block;
}

}  // namespace

std::vector<MeasuredBlock> read_blocks(Reader& measurements, const Calibration& calibration) {
  const Value* schema = measurements.raw("schema", "which kind of file this is");
  if (schema == nullptr || schema->text != measurements_schema)
    measurements.fail("schema", fmt::format("expected '{}'", measurements_schema));
  std::vector<MeasuredBlock> blocks;
  for (Reader& device : measurements.items("devices", "that were measured")) {
    const Value* name = device.raw("device", "as the driver calls it");
    if (name == nullptr || name->text.find(calibration.device.name) == std::string::npos)
      device.fail("device", fmt::format("is {}, but the calibration is of {}",
                                        name == nullptr ? "missing" : name->text, calibration.device.name));
    for (Reader& block : device.items("blocks", "whole blocks")) blocks.push_back(read_block(block));
  }
  return blocks;
}

PredictedBlock predict(const MeasuredBlock& block, const Cost& cost, const Device& device) {
  const Loop loop(block.ops, cost, device);
  const double clock = block.in_loop ? loop.clock() : 1;
  return {.seconds = loop.seconds(clock), .clock = clock};
}

}  // namespace moesim
