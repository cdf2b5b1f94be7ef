#include "sim/collective/settings.hpp"

#include <algorithm>

#include "models/base/error.hpp"

namespace moesim {

CollectiveSettings read_collective_settings(Reader& reader, const CollectiveSettings& defaults) {
  CollectiveSettings settings;
  settings.startup = reader.time({.name = "startup",
                                  .help = "launch and first synchronisation, once a communication",
                                  .fallback = defaults.startup,
                                  .at_least = Time{0}});
  settings.efficiency = reader.number({.name = "efficiency",
                                       .help = "share of the links' rates that the implementation reaches",
                                       .fallback = defaults.efficiency,
                                       .at_least = 0.01,
                                       .at_most = 1.0});
  return settings;
}

Time longest_latency(std::span<const DeviceId> group, const Fabric& fabric) {
  Time longest;
  for (const DeviceId to : group) longest = std::max(longest, fabric.latency(group.front(), to));
  return longest;
}

void refuse(std::string_view algorithm, Operation operation, std::string_view known) {
  throw InputError("collectives", fmt::format("'{}' does no {} (it does {})", algorithm,
                                              operation_names[static_cast<std::size_t>(operation)], known));
}

}  // namespace moesim
