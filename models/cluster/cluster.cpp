#include "models/cluster/cluster.hpp"

#include "models/base/error.hpp"

namespace moesim {
namespace {

Fabric build_fabric(const Reader& cluster, std::unique_ptr<const Topology> topology, std::uint32_t devices) {
  try {
    return Fabric(std::move(topology), devices);
  } catch (const InputError& error) {
    cluster.fail("devices", error.what(), error.hint());
  }
}

}  // namespace

Cluster read_cluster(Reader& reader) {
  const std::string name = reader.text({.name = "name", .help = "what reports call the cluster"});
  Reader device_part = reader.part("device", "the accelerator, all of one kind");
  Device device = read_device(device_part);
  device_part.finish();
  const std::int64_t devices =
      reader.integer({.name = "devices", .help = "number of devices", .at_least = 1, .at_most = 1'048'576});
  Reader topology_part = reader.part("topology", "how the devices are wired", member_names(topologies()));
  std::unique_ptr<const Topology> topology = make_member(topology_part, topologies(), "topology");
  reader.finish();
  return {.name = name,
          .device = std::move(device),
          .fabric = build_fabric(reader, std::move(topology), static_cast<std::uint32_t>(devices))};
}

}  // namespace moesim
