// Fabrics for tests, from the keys of a topology.
#pragma once

#include <string>
#include <vector>

#include "models/base/error.hpp"
#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"

namespace moesim::testing {

/// The fabric of a topology's keys, as `"kind": "star"`.
inline Fabric fabric_of(const std::string& keys, std::uint32_t devices) {
  const Value value = load_document_text("{" + keys + "}", "topology.json");
  Reader reader(value, "");
  return Fabric(make_member(reader, topologies(), "topology"), devices);
}

/// What is said of keys or a count of devices that are refused.
inline std::string fabric_error(const std::string& keys, std::uint32_t devices) {
  try {
    static_cast<void>(fabric_of(keys, devices));
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// A route as the names of the vertices it visits.
inline std::string way(const Fabric& fabric, DeviceId from, DeviceId to, std::uint32_t number = 0) {
  std::vector<LinkId> links;
  fabric.route(from, to, links, number);
  std::string names = fabric.vertices()[from].name;
  for (const LinkId id : links) names += " > " + fabric.vertices()[fabric.link(id).to].name;
  return names;
}

/// What `bytes` from each member of a group to each other put on each link, added up way by way.
inline std::vector<double> pairwise_load(const Fabric& fabric, const std::vector<DeviceId>& group,
                                         double bytes) {
  std::vector<double> load(fabric.links().size());
  std::vector<LinkId> links;
  for (const DeviceId from : group) {
    for (const DeviceId to : group) {
      const std::uint32_t ways = fabric.ways(from, to);
      for (std::uint32_t number = 0; number < ways; ++number) {
        links.clear();
        fabric.route(from, to, links, number);
        for (const LinkId id : links) load[id] += bytes / ways;
      }
    }
  }
  return load;
}

}  // namespace moesim::testing
