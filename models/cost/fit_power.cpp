#include "models/cost/fit_power.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/at.hpp"
#include "models/cost/descent.hpp"
#include "models/cost/power.hpp"

namespace moesim {
namespace {

MixPart read_part(Reader& reader) {
  MixPart part{.measured = read_measured(reader)};
  part.calls = reader.integer({.name = "calls", .help = "in a row", .at_least = 1});
  part.alone_seconds = reader.number({.name = "alone_s", .help = "of a call, rested", .at_least = 1e-9});
  reader.finish();
  return part;
}

MeasuredMix read_mix(Reader& reader) {
  MeasuredMix mix;
  mix.power = {reader.number({.name = "power_w", .help = "drawn in the mean", .at_least = 1.0})};
  mix.pause_seconds = reader.number({.name = "pause_s", .help = "after a round", .at_least = 0.0});
  static_cast<void>(reader.raw("clock_mhz", "mean over the mix"));
  for (Reader& item : reader.items("parts", "ops in turn")) mix.parts.push_back(read_part(item));
  reader.finish();
  return mix;
}

/// A mix at a clock.
class PlayedMix {
 public:
  PlayedMix(const MeasuredMix& mix, const Cost& cost, const Device& device)
      : mix_(mix), cost_(cost), device_(device) {
    for (const MixPart& part : mix.parts) full_.push_back(modelled(part, 1));
  }

  /// Of a call.
  double seconds(std::size_t part, double clock) const {
    const MixPart& of = mix_.parts[part];
    return of.alone_seconds * modelled(of, clock) / full_[part];
  }

  Power power(double clock) const {
    double joules = 0, time = mix_.pause_seconds;
    for (std::size_t i = 0; i < mix_.parts.size(); ++i) {
      const double own = seconds(i, clock), calls = static_cast<double>(mix_.parts[i].calls);
      joules += calls * drawn(mix_.parts[i].measured.op, from_seconds(own), device_, clock).count;
      time += calls * own;
    }
    return device_.power->idle + Power{joules / time};
  }

  double settled() const {
    return settled_clock(device_, [&](double clock) { return power(clock); });
  }

 private:
  double modelled(const MixPart& part, double clock) const {
    return std::max(1e-12, to_seconds(cost_.time(part.measured.op, device_, {0, clock}).time));
  }

  const MeasuredMix& mix_;
  const Cost& cost_;
  const Device& device_;
  std::vector<double> full_;  // seconds of each part's call by the model at full clock
};

/// Logarithms of modelled over measured.
struct Logarithms {
  std::vector<double> times, powers;
};

Logarithms logarithms_of(const Cost& cost, const Device& device, const std::vector<MeasuredMix>& mixes) {
  Logarithms found;
  for (const MeasuredMix& mix : mixes) {
    const PlayedMix played(mix, cost, device);
    const double clock = played.settled();
    found.powers.push_back(std::log(played.power(clock) / mix.power));
    for (std::size_t i = 0; i < mix.parts.size(); ++i)
      found.times.push_back(std::log(played.seconds(i, clock) / mix.parts[i].measured.seconds));
  }
  return found;
}

Parameter of_power(Power& power) {
  return {[&power] { return power.count; }, [&power](double watts) { power.count = watts; }};
}

Parameter of_energy(Energy& energy) {
  return {[&energy] { return energy.count; }, [&energy](double joules) { energy.count = joules; }};
}

std::vector<Parameter> parameters_of(PowerBehaviour& power, const std::vector<MeasuredMix>& mixes) {
  std::vector<Parameter> parameters{of_power(power.active),           of_energy(power.per_byte),
                                    of_ratio(power.exponent, 1, 4),   of_ratio(power.knee, 0.5, 1),
                                    of_ratio(power.traffic, 1e-3, 1), of_ratio(power.held, 0.8, 1.05)};
  for (const Precision precision : {Precision::bf16, Precision::fp8}) {
    const bool is_measured = std::any_of(mixes.begin(), mixes.end(), [&](const MeasuredMix& mix) {
      return std::any_of(mix.parts.begin(), mix.parts.end(), [&](const MixPart& part) {
        return part.measured.op.flops.count > 0 && part.measured.op.precision == precision;
      });
    });
    if (is_measured) parameters.push_back(of_energy(at(power.per_flop, precision)));
  }
  return parameters;
}

}  // namespace

MeasuredPower read_measured_power(Reader reader) {
  MeasuredPower power;
  power.limit = {reader.number({.name = "limit_w", .help = "that the driver enforces", .at_least = 1.0})};
  power.idle = {reader.number({.name = "idle_w", .help = "without a kernel", .at_least = 0.0})};
  power.response = from_seconds(
      reader.number({.name = "response_s", .help = "until a product is slower", .at_least = 0.0}));
  for (Reader& item : reader.items("mixes", "of ops")) power.mixes.push_back(read_mix(item));
  reader.finish();
  return power;
}

void fit_power(const Cost& cost, Device& device, const MeasuredPower& measured) {
  if (!device.power || measured.mixes.empty()) return;
  PowerBehaviour& power = *device.power;
  power.limit = measured.limit;
  power.idle = measured.idle;
  if (measured.response.count > 0) power.window = measured.response;
  std::vector<Parameter> parameters = parameters_of(power, measured.mixes);
  const auto loss = [&] {
    const Logarithms found = logarithms_of(cost, device, measured.mixes);
    MeanError error;
    for (const double logarithm : found.times) error.add(logarithm);
    for (const double logarithm : found.powers) error.add(logarithm);
    return error.value();
  };
  descend(loss, parameters);
}

PowerErrors power_errors(const Cost& cost, const Device& device, const MeasuredPower& measured) {
  Logarithms found = logarithms_of(cost, device, measured.mixes);
  return {errors_of(std::move(found.times)), errors_of(std::move(found.powers))};
}

}  // namespace moesim
