#include "sim/collective/settings.hpp"

#include <algorithm>

#include "models/base/at.hpp"
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

Traffic sends_to_all(const Request& request, const Fabric& fabric, bool once) {
  Traffic traffic{
      .flows = {}, .latency = longest_latency(request.group, fabric), .efficiency = 1, .messages = 0};
  const auto row = static_cast<double>(request.bytes.count);
  if (request.rows.empty()) {
    const double bytes = rows_between(request, 0, 0, once) * row;
    traffic.exchanges = {{{request.group.begin(), request.group.end()}, bytes}};
    traffic.messages = traffic.exchanges.front().flow_count();
    return traffic;
  }
  for (std::size_t from = 0; from < request.group.size(); ++from) {
    for (std::size_t to = 0; to < request.group.size(); ++to) {
      if (from == to) continue;
      const double bytes = rows_between(request, from, to, once) * row;
      traffic.flows.push_back({request.group[from], request.group[to], bytes});
    }
  }
  traffic.messages = static_cast<std::int64_t>(traffic.flows.size());
  return traffic;
}

void refuse(std::string_view algorithm, Operation operation, std::string_view known) {
  throw InputError("collectives", fmt::format("'{}' does no {} (it does {})", algorithm,
                                              at(operation_names, operation), known));
}

}  // namespace moesim
