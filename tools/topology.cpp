// moesim topology CLUSTER: devices, link classes, bisection bandwidth, a route, and with --bytes how long the
// devices take to talk to each other.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"
#include "models/config/quantity.hpp"
#include "models/config/values.hpp"
#include "sim/lower/communicators.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct TopologyOptions {
  std::string cluster, format = "text", out = "-", bytes;
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
                        at(link_class_names, link.link_class), print(link.rate), print(link.latency));
  }
  return text + fmt::format("  latency {}\n", print(fabric.latency(from, to)));
}

Bytes size_from(const std::string& text) {
  const Parsed parsed = parse_bytes(text);
  if (!parsed.amount || *parsed.amount < 1 || *parsed.amount > 1e15)
    throw InputError("--bytes", fmt::format("'{}', expected a size of 1 B to 1 PB as \"8 MiB\"", text));
  return Bytes{std::llround(*parsed.amount)};
}

/// One communication of all devices, with the links to itself.
Time time_alone(const Fabric& fabric, std::string_view algorithm, Request request) {
  const Value keys = empty_object();
  Reader no_keys(keys, "");
  const Register<Collective> all = collectives();
  const auto member =
      std::find_if(all.begin(), all.end(), [&](const auto* m) { return m->name == algorithm; });
  ensure(member != all.end(), "the algorithm is registered");
  std::vector<DeviceId> group(fabric.device_count());
  std::iota(group.begin(), group.end(), 0U);
  request.group = group;
  const Call call{request, group};
  GraphBuilder builder(1);
  const ActorId actor = 0;
  const PatternId pattern =
      PatternMaker(fabric).make(builder, *(*member)->make(no_keys), {&call, 1}, {&actor, 1});
  builder.add_coflow(pattern, {});
  std::vector<Rate> rates;
  for (const Link& link : fabric.links()) rates.push_back(link.rate);
  const TaskGraph graph = std::move(builder).finish(rates);
  return graph.pattern_table[pattern].latency + rounded(alone_times(graph)[pattern]);
}

/// An all-to-all and an all-reduce of all devices, on one line.
std::string times_of(const Fabric& fabric, Bytes bytes) {
  const auto devices = static_cast<double>(fabric.device_count());
  const Time exchange = time_alone(
      fabric, "pairwise", {.operation = Operation::all_to_all, .bytes = bytes, .rows_per_rank = 1 / devices});
  const Time reduction =
      time_alone(fabric, "dimension_ring", {.operation = Operation::all_reduce, .bytes = bytes});
  return fmt::format("{:>5} devices, {} each: all_to_all {:>9}, all_reduce {:>9}\n", fabric.device_count(),
                     print(bytes), print(exchange), print(reduction));
}

std::string text_of(const TopologyOptions& options, const Cluster& cluster) {
  const Fabric& fabric = cluster.fabric;
  const std::string times =
      options.bytes.empty() ? "" : "\nEverybody to everybody\n" + times_of(fabric, size_from(options.bytes));
  const DeviceId last = fabric.device_count() - 1;
  const auto to = options.to < 0 ? last : static_cast<DeviceId>(options.to);
  if (options.from > last || to > last) {
    throw InputError("--from, --to",
                     fmt::format("devices {} and {}, expected at most {}", options.from, to, last));
  }
  return fmt::format("{}: {} x {}, {} nodes of {}\n\nLinks\n{}\nBisection bandwidth: {}\n\nRoute\n{}{}",
                     cluster.name, fabric.device_count(), cluster.device.name,
                     fabric.device_count() / fabric.devices_per_node(), fabric.devices_per_node(),
                     link_classes(fabric), print(fabric.bisection_bandwidth()),
                     route(fabric, options.from, to), times);
}

void show(const TopologyOptions& options) {
  const SeesFiles check =
      output_check({.inputs = {{"CLUSTER", options.cluster}}, .outputs = {{"--out", options.out}}});
  std::vector<Override> overrides;
  for (const std::string& set : options.sets) overrides.push_back(parse_override(set));
  const Value document = load_document(options.cluster, overrides);
  if (check) check(files_needed(document));
  Reader reader(document, "");
  const Cluster cluster = read_cluster(reader);
  write_file(options.out, write({.text = [&] { return text_of(options, cluster); },
                                 .graph = [&] { return cluster.fabric.dot(); }},
                                options.format));
}

}  // namespace

void add_topology_command(CLI::App& app) {
  auto options = std::make_shared<TopologyOptions>();
  CLI::App* command = app.add_subcommand("topology", "show a cluster: links, bisection bandwidth, a route");
  command->add_option("CLUSTER", options->cluster, "cluster file")->required();
  add_format_option(*command, options->format, {Form::text, Form::graph});
  command->add_option("--out", options->out, "file to write to (-: standard output)");
  command->add_option("--set", options->sets, "KEY=VALUE: sets any key of the cluster")
      ->allow_extra_args(false);
  command->add_option(
      "--bytes", options->bytes,
      "of each device: time of an all-to-all and an all-reduce among all, links to themselves");
  command->add_option("--from", options->from, "device at which the route starts");
  command->add_option("--to", options->to, "device at which the route ends (default: the last)");
  command->callback([options] { show(*options); });
}

}  // namespace moesim
