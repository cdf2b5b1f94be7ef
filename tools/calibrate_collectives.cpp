#include "tools/calibrate_collectives.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"
#include "sim/collective/measured.hpp"

namespace moesim {
namespace {

namespace files = std::filesystem;

const Value* first_device(const Value& measurements) {
  const Value* devices = measurements.find("devices");
  return devices == nullptr || devices->items.empty() ? nullptr : &devices->items.front();
}

/// The rate of a device's NVLink in a cluster; nothing where there is none between the first two devices.
std::optional<Rate> nvlink_rate(const Cluster& cluster) {
  if (cluster.fabric.device_count() < 2) return std::nullopt;
  std::vector<LinkId> route;
  cluster.fabric.route(0, 1, route);
  const Link& link = cluster.fabric.link(route.front());
  return link.link_class == LinkClass::nvlink ? std::optional(link.rate) : std::nullopt;
}

Cluster cluster_in(const std::string& path) {
  const Value document = load_document(path);
  Reader reader(document, "");
  return read_cluster(reader);
}

/// Of the first file in configs/clusters whose devices have the longest name that is a part of `device`.
Rate rate_for(const std::string& device, const std::string& origin) {
  std::vector<std::string> paths;
  const files::path folder = files::path(find_beside("configs/clusters/h200-64.json", origin)).parent_path();
  for (const files::directory_entry& entry : files::directory_iterator(folder))
    if (entry.path().extension() == ".json") paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  std::size_t longest = 0;
  std::optional<Rate> found;
  for (const std::string& path : paths) {
    const Cluster cluster = cluster_in(path);
    const std::string& name = cluster.device.name;
    if (name.size() <= longest || device.find(name) == std::string::npos) continue;
    const std::optional<Rate> rate = nvlink_rate(cluster);
    if (!rate) continue;
    found = rate;
    longest = name.size();
  }
  if (found) return *found;
  throw InputError(
      origin,
      fmt::format("holds collectives of '{}', of which configs/clusters has no cluster with NVLink", device),
      "--cluster FILE names one, whose links are those that were measured");
}

Rate link_rate_of(const std::string& cluster, const Reader& device) {
  if (cluster.empty()) {
    const Value* name = device.value().find("device");
    return rate_for(name == nullptr ? std::string() : name->text, device.value().origin);
  }
  if (const std::optional<Rate> rate = nvlink_rate(cluster_in(cluster))) return *rate;
  throw InputError("--cluster", fmt::format("{} has no NVLink between its devices", cluster));
}

std::string line_of(const TimeCurve& curve) {
  const double sent = curve.bytes.back() * sent_share(curve.operation, curve.ranks);
  std::string text = fmt::format(
      "{:<16}{:>6}{:>10.2f} us{:>10.1f} GB/s{:>10}", at(operation_names, curve.operation), curve.ranks,
      curve.seconds.front() * 1e6, sent / curve.seconds.back() / 1e9, curve.held_out.shapes);
  if (curve.held_out.shapes > 0)
    text += fmt::format("{:>9.1f} %{:>9.1f} %", 100 * curve.held_out.median, 100 * curve.held_out.worst);
  return text + "\n";
}

}  // namespace

bool has_collectives(const Value& measurements) {
  const Value* device = first_device(measurements);
  const Value* lines = device == nullptr ? nullptr : device->find("collectives");
  return lines != nullptr && !lines->items.empty();
}

CollectivesFile collectives_file(const Value& measurements, const std::string& cluster) {
  Reader whole(measurements, "");
  std::vector<Reader> devices = whole.items("devices", "that were measured");
  if (devices.empty()) whole.fail("devices", "is missing or empty, expected what moesim-measure writes");
  Reader& device = devices.front();
  const MeasuredCollectives measured = fit_collectives(device, link_rate_of(cluster, device));
  std::string table = fmt::format("{:<16}{:>6}{:>13}{:>15}{:>10}{:>11}{:>11}\n", "collectives", "ranks",
                                  "start-up", "largest", "others", "median", "worst");
  for (const TimeCurve& curve : measured.curves) table += line_of(curve);
  return {.text = write_measured_collectives(measured), .table = table};
}

}  // namespace moesim
