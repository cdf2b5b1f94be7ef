// moesim topology CLUSTER: devices, link classes, bisection bandwidth, a route.
#include <fmt/format.h>

#include <memory>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct TopologyOptions {
  std::string cluster, format = "text", out = "-";
  std::vector<std::string> sets;
  std::uint32_t from = 0;
  std::int64_t to = -1;
};

std::string link_classes(const Fabric& fabric) {
  std::string text;
  for (std::size_t c = 0; c < link_class_count; ++c) {
    std::size_t count = 0;
    Rate least, most;
    for (const Link& link : fabric.links()) {
      if (static_cast<std::size_t>(link.link_class) != c) continue;
      least = count == 0 ? link.rate : std::min(least, link.rate);
      most = std::max(most, link.rate);
      ++count;
    }
    if (count == 0) continue;
    const std::string rates = least == most ? print(least) : print(least) + " to " + print(most);
    text += fmt::format("  {:<12} {:>7} one-way links of {}\n", link_class_names[c], count, rates);
  }
  return text;
}

std::string route(const Fabric& fabric, DeviceId from, DeviceId to) {
  std::vector<LinkId> links;
  fabric.route(from, to, links);
  std::string text = fmt::format("  {}\n", fabric.vertices()[from].name);
  for (const LinkId id : links) {
    const Link& link = fabric.link(id);
    text += fmt::format("    -> {:<24} {} at {}, {}\n", fabric.vertices()[link.to].name,
                        link_class_names[static_cast<std::size_t>(link.link_class)], print(link.rate),
                        print(link.latency));
  }
  return text + fmt::format("  latency {}\n", print(fabric.latency(from, to)));
}

void show(const TopologyOptions& options) {
  std::vector<Override> overrides;
  for (const std::string& set : options.sets) overrides.push_back(parse_override(set));
  const Value document = load_document(options.cluster, overrides);
  Reader reader(document, "");
  const Cluster cluster = read_cluster(reader);
  const Fabric& fabric = cluster.fabric;
  if (options.format == "dot") return write_file(options.out, fabric.dot());
  const DeviceId last = fabric.device_count() - 1;
  const auto to = options.to < 0 ? last : static_cast<DeviceId>(options.to);
  if (options.from > last || to > last) {
    throw InputError("--from, --to",
                     fmt::format("devices {} and {}, expected at most {}", options.from, to, last));
  }
  write_file(options.out,
             fmt::format("{}: {} x {}, {} nodes of {}\n\nLinks\n{}\nBisection bandwidth: {}\n\nRoute\n{}",
                         cluster.name, fabric.device_count(), cluster.device.name,
                         fabric.device_count() / fabric.devices_per_node(), fabric.devices_per_node(),
                         link_classes(fabric), print(fabric.bisection_bandwidth()),
                         route(fabric, options.from, to)));
}

}  // namespace

void add_topology_command(CLI::App& app) {
  auto options = std::make_shared<TopologyOptions>();
  CLI::App* command = app.add_subcommand("topology", "show a cluster: links, bisection bandwidth, a route");
  command->add_option("CLUSTER", options->cluster, "cluster file")->required();
  command->add_option("--format", options->format, "text or dot")->check(CLI::IsMember({"text", "dot"}));
  command->add_option("--out", options->out, "file to write to (-: standard output)");
  command->add_option("--set", options->sets, "KEY=VALUE: sets any key of the cluster")
      ->allow_extra_args(false);
  command->add_option("--from", options->from, "device at which the route starts");
  command->add_option("--to", options->to, "device at which the route ends (default: the last)");
  command->callback([options] { show(*options); });
}

}  // namespace moesim
