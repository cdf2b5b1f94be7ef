// A cluster: devices of one kind on a fabric.
#pragma once

#include <string>

#include "models/cluster/device.hpp"
#include "models/cluster/fabric.hpp"
#include "models/config/family.hpp"
#include "models/config/reader.hpp"

namespace moesim {

/// A cluster as its file gives it.
struct Cluster {
  std::string name;
  Device device;
  Fabric fabric;
};

/// Reads a cluster file: name, device (part), devices (count), topology (part, with "kind").
Cluster read_cluster(Reader& reader);

/// The members of the topology family.
Register<Topology> topologies();

}  // namespace moesim
