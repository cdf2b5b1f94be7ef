// Power of multiprocessors goes with the frequency and the square of the voltage, which rises with the
// frequency (Weste, Harris, CMOS VLSI Design, 4th ed., 5.2): here with the clock to the power of `exponent`.
// An operation's energy, power over rate, then goes with the clock to that power less one. Memory has a clock
// of its own. What the numbers were fitted on: docs/devices.md.
#include "models/cost/power.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/at.hpp"

namespace moesim {
namespace {

constexpr double near = 1e-3;  // of the power
constexpr int most_tries = 12;

}  // namespace

Energy drawn(const Op& op, Time time, const Device& device, double clock) {
  if (!device.power) return {};
  const PowerBehaviour& power = *device.power;
  const Time gaps = device.launch_overhead * std::max<std::int64_t>(1, op.kernels);
  const Precision precision = op.kind == OpKind::attention ? Precision::bf16 : op.precision;
  const Energy active = power.active * std::max(Time{}, time - gaps) * std::pow(clock, power.exponent);
  const Energy known = at(power.per_flop, precision);
  const Energy each =
      known.count > 0 ? known : *std::max_element(power.per_flop.begin(), power.per_flop.end());
  const Energy products = each * op.flops.count * std::pow(clock, power.exponent - 1);
  return active + products + power.per_byte * (static_cast<double>(op.bytes.count) * op.passes);
}

double settled_clock(const Device& device, const std::function<Power(double)>& mean_at) {
  const PowerBehaviour& power = *device.power;
  const Power held = power.limit * power.held;
  const auto excess_at = [&](double clock) { return std::log(mean_at(clock) / held); };
  double before = 1, excess_before = excess_at(1);
  if (excess_before <= 0) return 1;
  // As if all but idle power went with the clock; then by secants.
  const double beyond_idle = std::expm1(excess_before) * held.count / (held - power.idle).count;
  double clock = std::max(lowest_clock, std::pow(1 + beyond_idle, -1 / power.exponent));
  for (int tries = 1;; ++tries) {
    const double excess = excess_at(clock);
    if (std::abs(excess) < near || tries == most_tries || excess == excess_before) return clock;
    const double next = clock - excess * (clock - before) / (excess - excess_before);
    before = clock, excess_before = excess;
    clock = std::clamp(next, lowest_clock, 1.0);
    if (clock == before) return clock;
  }
}

// An H200 that rested for 60 ms or for 1 s then runs products at its full clock for 27 to 69 ms (p10 to p90
// of 48 starts of ten mixes, median 42), whatever they draw beyond the limit, and from then on near the clock
// to which they settle: the window of a large product alone serves every mix.
double clock_after_rest(const Device& device, double settled, Time step_at_full_clock, std::int64_t step) {
  const Time window = device.power->window;
  if (step == 0 || settled >= 1 || window.count == 0) return settled;
  const double end = static_cast<double>(step) * (step_at_full_clock / window);
  const double begin = end - step_at_full_clock / window;
  if (begin >= 1) return settled;
  const double at_full = end <= 1 ? 1 : (1 - begin) / (end - begin);  // of the step's work
  return 1 / (at_full + (1 - at_full) / settled);
}

}  // namespace moesim
