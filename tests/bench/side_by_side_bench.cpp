// The same communications on fluid, on SimGrid and by closed formulas, on DGX H100 nodes under two levels of
// switches: prints the table of docs/performance.md. Judges nothing. With an argument: the most flows for
// SimGrid.
#include <fmt/format.h>
#include <sys/resource.h>

#include <numeric>
#include <string>

#include "models/config/document.hpp"
#include "sim/lower/communicators.hpp"
#include "tests/support/graphs.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

/// Processor time of this process and of those that it has waited for.
double processor_seconds() {
  const auto seconds_of = [](int who) {
    rusage usage{};
    getrusage(who, &usage);
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
  };
  return seconds_of(RUSAGE_SELF) + seconds_of(RUSAGE_CHILDREN);
}

Cluster cluster_of(std::uint32_t devices) {
  const Value document = load_document(MOESIM_SOURCE "/configs/clusters/h100-64.json",
                                       {parse_override(fmt::format("devices={}", devices))});
  Reader reader(document, "cluster");
  return read_cluster(reader);
}

std::unique_ptr<const Collective> collective_of(const std::string& kind) {
  const Value document = load_document_text(fmt::format("{{\"kind\": \"{}\"}}", kind), "collective");
  Reader reader(document, "collective");
  return make_member(reader, collectives(), "collective");
}

struct Job {
  std::string_view name;
  std::string kind;
  Operation operation;
  double bytes;  // all_to_all: from each rank to each; all_reduce: the buffer
};

/// Bytes of the busiest NVLink and the busiest NIC over their rates; latency as the collective says.
double closed_seconds(const Job& job, double ranks, const Cluster& cluster) {
  constexpr double on_node = 8;
  double nvlink = 0, nic = 0;
  for (const Link& link : cluster.fabric.links()) {
    if (link.link_class == LinkClass::nvlink) nvlink = link.rate.count;
    if (link.link_class == LinkClass::infiniband) nic = link.rate.count;
  }
  if (job.operation == Operation::all_to_all) {
    return std::max((on_node - 1) * job.bytes / nvlink, (ranks - on_node) * job.bytes / nic);
  }
  // Eight rings, each of an eighth of the buffer. Each leaves a node over a NIC of its own and enters the
  // next on another rail, so it crosses NVLink as often as it visits a device.
  const double ring = 2 * (ranks - 1) / ranks * job.bytes / on_node;
  return std::max(on_node * ring / nvlink, ring / nic);
}

struct Measured {
  Time time;
  double seconds = 0;  // of the processor
};

Measured measure(std::string_view engine, const TaskGraph& graph) {
  const double before = processor_seconds();
  const Timeline timeline = testing::run(engine, graph);
  return {timeline.makespan(), processor_seconds() - before};
}

TaskGraph graph_of(const Job& job, const Cluster& cluster, FlowGrain grain) {
  std::vector<DeviceId> group(cluster.fabric.device_count());
  std::iota(group.begin(), group.end(), 0u);
  const Request request{.operation = job.operation,
                        .group = group,
                        .bytes = Bytes{static_cast<std::int64_t>(job.bytes)},
                        .rows_per_rank = 1};
  GraphBuilder builder(1);
  PatternMaker patterns(cluster.fabric, {.grain = grain});
  const Call call{.request = request, .group = group};
  builder.add_coflow(patterns.make(builder, *collective_of(job.kind), {&call, 1}, {}), {});
  std::vector<Rate> rates;
  for (const Link& link : cluster.fabric.links()) rates.push_back(link.rate);
  return std::move(builder).finish(rates);
}

void print_row(const Job& job, const Cluster& cluster, FlowGrain grain, std::size_t most_flows) {
  const std::uint32_t ranks = cluster.fabric.device_count();
  const double before = processor_seconds();
  const TaskGraph graph = graph_of(job, cluster, grain);
  const double built = processor_seconds() - before;
  const Pattern& pattern = graph.pattern_table[0];
  const double closed =
      closed_seconds(job, ranks, cluster) * 1e3 + static_cast<double>(pattern.latency.count) * 1e-9;
  const std::size_t flows = std::max(1u, pattern.part_count);
  const auto words = [](const Measured& m) {
    return fmt::format("{:.4f} ms in {:.3f} s", static_cast<double>(m.time.count) * 1e-9, m.seconds);
  };
  fmt::print("| {} | {} | {} | {} | {:.4f} ms | {:.3f} s | {} | {} |\n", job.name, ranks,
             flow_grain_names[static_cast<std::size_t>(grain)], flows, closed, built,
             words(measure("fluid", graph)),
             flows > most_flows ? "not run" : words(measure("simgrid", graph)));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t most_flows = argc > 1 ? std::stoul(argv[1]) : 5'000;
  fmt::print("| operation | ranks | flows | how many | closed form | graph built in | fluid | SimGrid |\n");
  fmt::print("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  const Job jobs[] = {{"all-to-all, 1 MB a pair", "pairwise", Operation::all_to_all, 1e6},
                      {"all-reduce, 1 GB", "ring", Operation::all_reduce, 1e9}};
  for (const Job& job : jobs) {
    for (const std::uint32_t ranks : {64u, 256u, 1024u}) {
      const Cluster cluster = cluster_of(ranks);
      for (const FlowGrain grain : {FlowGrain::coflow, FlowGrain::port, FlowGrain::pair}) {
        print_row(job, cluster, grain, testing::has_engine("simgrid") ? most_flows : 0);
      }
    }
  }
}
