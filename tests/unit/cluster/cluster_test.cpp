// Cluster files: what they hold, and what is said where they are wrong.
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "models/base/error.hpp"
#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

const std::string folder = MOESIM_SOURCE "/configs/clusters/";

Cluster load(const std::string& file, const std::vector<Override>& changes = {}) {
  const Value value = load_document(folder + file, changes);
  Reader reader(value, "");
  return read_cluster(reader);
}

std::string error_of(const std::string& file, const std::string& change) {
  try {
    load(file, {parse_override(change)});
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("Every cluster file reads, and its devices reach each other") {
  std::size_t files = 0;
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    INFO(entry.path().filename());
    const Cluster cluster = load(entry.path().filename());
    CHECK(cluster.fabric.is_connected());
    CHECK(names.insert(cluster.name).second);
    ++files;
  }
  CHECK(files >= 11);
}

TEST_CASE("The cluster of DeepSeek-V3 has the published figures") {
  const Cluster cluster = load("h800-2048.json");
  CHECK(cluster.name == "H800 x 2048");
  CHECK(cluster.fabric.device_count() == 2048);
  CHECK(cluster.fabric.devices_per_node() == 8);
  CHECK(cluster.fabric.link(0).rate == 160_GBps);
  CHECK(cluster.fabric.latency(0, 1) == 3330_ns);
  CHECK(cluster.fabric.latency(0, 8) == 2800_ns);
  CHECK(cluster.fabric.latency(0, 2040) == 3700_ns);
  CHECK(cluster.fabric.bisection_bandwidth() / (47_GBps * 1024) == Approx(1).epsilon(1e-12));
}

TEST_CASE("A DGX A100 extends the nodes with half its adapters, and shares no link to them") {
  const Override devices = parse_override("devices=64");
  const Cluster four = load("base/a100.json", {devices}), eight = load("base/dgx-a100.json", {devices});
  CHECK(eight.fabric.bisection_bandwidth() / four.fabric.bisection_bandwidth() == Approx(2));
  CHECK(eight.device.name == four.device.name);
  CHECK_THROWS_WITH(load("base/dgx-a100.json", {devices, parse_override("topology.pcie_rate=25 GB/s")}),
                    Catch::Contains("no NIC is shared"));
}

TEST_CASE("Four HDR adapters a node bound the A100 clusters") {
  const Cluster cluster = load("a100-64.json");
  CHECK(cluster.fabric.bisection_bandwidth() / (Rate{23.5e9} * 4 * 4) == Approx(1).epsilon(1e-12));
}

TEST_CASE("A count of devices that does not fill the nodes is an error with both numbers") {
  CHECK(error_of("h100-64.json", "devices=60") ==
        "--set: devices: is 60, which is no multiple of devices_per_node 8");
  CHECK(error_of("h100-64.json", "devices=12") ==
        "--set: devices: is 12, which is no multiple of devices_per_node 8");
}

TEST_CASE("A cluster file that is wrong says where") {
  CHECK(error_of("two-gpus.json", "devices=0") == "--set: devices: is 0, expected 1 to 1048576");
  CHECK(error_of("two-gpus.json", "devices=2000000") == "--set: devices: is 2000000, expected 1 to 1048576");
  CHECK(error_of("two-gpus.json", "device=configs/devices/none.json") ==
        "--set: device: 'configs/devices/none.json' is no file here or in a folder above, nor an object");
  CHECK(error_of("two-gpus.json", "topology.nvlink_rate=450") ==
        "--set: topology.nvlink_rate: 450 has no unit, expected a rate as \"50 GB/s\" (B/s, MB/s, GB/s, "
        "TB/s, or "
        "bits: Mb/s, Gb/s, Tb/s)");
  CHECK(error_of("two-gpus.json", "topology.nvlink_rat=\"450 GB/s\"") ==
        "--set: topology.nvlink_rat: unknown key (known: kind, nvlink_efficiency, nvlink_latency, "
        "nvlink_rate; did "
        "you mean 'nvlink_rate'?)");
  CHECK(error_of("two-gpus.json", "gpus=2") ==
        "--set: gpus: unknown key (known: device, devices, name, topology)");
}
