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
  const Device& device = scenario.cluster->device;
  const PowerBehaviour& power = *device.power;
  double sent = 0;
  for (const CommunicationReport& of : report.communications) sent += static_cast<double>(of.bytes);
  const Energy communication = power.per_sent * (sent / static_cast<double>(report.devices));
  const Energy idle = power.idle * report.step_time;
  Energy beyond_idle = communication;
  for (const KernelReport& kernels : report.kernels) beyond_idle += kernels.energy;
  const Time counted = report.step_time - long_pauses(actors, power.window);
  return {.clock = scenario.clock,
          .held = power.idle + beyond_idle / counted,
          .limit = power.limit * power.held,
          .mean = power.idle + beyond_idle / report.step_time,
          .energy = idle + beyond_idle,
          .idle = idle,
          .communication = communication,
          .idle_power = power.idle,
          .cycle = device.cycle};
}

}  // namespace moesim
