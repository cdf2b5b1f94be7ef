#include "sim/report/power.hpp"

#include <algorithm>

namespace moesim {
namespace {

/// Idle time that the window of the mean does not reach over, mean over devices.
Time long_pauses(const std::vector<Occupancy>& actors, Time window) {
  MeanTime devices;
  for (const Occupancy& actor : actors) {
    const Time within = from_seconds(
        std::min(to_seconds(actor.idle), to_seconds(window) * static_cast<double>(actor.pauses)));
    devices.add(actor.idle - within, actor.devices);
  }
  return devices.mean();
}

}  // namespace

PowerReport power_of(const Scenario& scenario, const std::vector<Occupancy>& actors, const Report& report) {
  const PowerBehaviour& power = *scenario.cluster->device.power;
  double sent = 0;
  for (const CommunicationReport& of : report.communications) sent += static_cast<double>(of.bytes);
  Energy beyond_idle = power.per_sent * (sent / static_cast<double>(report.devices));
  for (const KernelReport& kernels : report.kernels) beyond_idle += kernels.energy;
  const Time counted = report.step_time - long_pauses(actors, power.window);
  return {.clock = scenario.clock,
          .held = power.idle + beyond_idle / counted,
          .energy = power.idle * report.step_time + beyond_idle};
}

}  // namespace moesim
