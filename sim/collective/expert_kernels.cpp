#include "sim/collective/expert_kernels.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "models/base/error.hpp"
#include "sim/collective/link_loads.hpp"
#include "sim/collective/rail_flows.hpp"

namespace moesim {
namespace {

/// Seconds that the busiest link of each kind needs at its full rate.
struct LinkSeconds {
  double nvlink = 0, other = 0;
};

LinkSeconds seconds_of(const std::vector<Flow>& flows, const Fabric& fabric) {
  LinkSeconds seconds;
  for (const LinkBytes& one : bytes_by_link(flows, fabric)) {
    const Link& link = fabric.link(one.link);
    double& longest = link.link_class == LinkClass::nvlink ? seconds.nvlink : seconds.other;
    longest = std::max(longest, one.bytes / link.rate.count);
  }
  return seconds;
}

/// Rows that go to ranks once: of the mean rank, and of the one that sends or receives most.
struct HandledRows {
  double mean = 0, most = 0;
};

HandledRows handled_rows(const Request& request) {
  const std::size_t ranks = request.group.size();
  const double even = request.reached_rows_per_rank * static_cast<double>(ranks);
  if (request.rows.empty()) return {even, even};
  std::vector<double> sent(ranks), received(ranks);
  for (std::size_t from = 0; from < ranks; ++from) {
    for (std::size_t to = 0; to < ranks; ++to) {
      const double rows = rows_between(request, from, to, true);
      sent[from] += rows;
      received[to] += rows;
    }
  }
  const double all = std::accumulate(sent.begin(), sent.end(), 0.0);
  return {all / static_cast<double>(ranks), std::max(*std::max_element(sent.begin(), sent.end()),
                                                     *std::max_element(received.begin(), received.end()))};
}

class ExpertKernels final : public Collective {
 public:
  ExpertKernels(const ExpertLibrary& library, bool host_waits) : library_(library), host_waits_(host_waits) {}

  ExchangeBuffers buffers() const override { return library_.buffers; }
  std::int64_t usual_multiprocessors() const override { return library_.multiprocessors; }
  bool counts_rows() const override { return true; }
  bool host_waits() const override { return host_waits_; }

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    if (request.operation != Operation::all_to_all) refuse(library_.name, request.operation, "all_to_all");
    Traffic traffic{.flows = rail_flows(request, fabric, library_.name),
                    .latency = kernel(request).startup + longest_latency(request.group, fabric),
                    .efficiency = library_.nic_share,
                    .nvlink_efficiency = library_.nvlink_share,
                    .messages = 0};
    if (request.leg == Leg::out) {
      traffic.latency += scaled(library_.count_each, request.tokens);
      if (host_waits_) traffic.latency += library_.host_pause;
    }
    traffic.messages = static_cast<std::int64_t>(traffic.flows.size());
    bound_by_copies(traffic, request, fabric);
    return traffic;
  }

 private:
  const ExchangeKernel& kernel(const Request& request) const {
    return request.leg == Leg::home ? library_.home : library_.out;
  }

  /// Of the rows that each rank handles, those of the busiest.
  double copy_seconds(const Request& request, const Fabric& fabric) const {
    const auto row = static_cast<double>(request.bytes.count);
    const ExchangeKernel& way = kernel(request);
    const HandledRows to_ranks = handled_rows(request);
    if (to_ranks.mean <= 0) return 0;
    double seconds = to_ranks.mean * way.to_rank.seconds(row);
    if (nodes_of(request.group, fabric) > 1 || way.enters_own_node)
      seconds += rows_to_nodes(request, fabric) * way.to_node.seconds(row);
    const std::int64_t has = request.multiprocessors > 0 ? request.multiprocessors : library_.multiprocessors;
    return seconds * (to_ranks.most / to_ranks.mean) / static_cast<double>(has);
  }

  /// Takes from the shares of the links' rates what multiprocessors cannot keep up with.
  void bound_by_copies(Traffic& traffic, const Request& request, const Fabric& fabric) const {
    const LinkSeconds full = seconds_of(traffic.flows, fabric);
    const double copies = copy_seconds(request, fabric);
    const double nvlink = full.nvlink / library_.nvlink_share;
    const double inside = std::max(copies, nvlink) + library_.unhidden * std::min(copies, nvlink);
    if (full.nvlink > 0) traffic.nvlink_efficiency = full.nvlink / inside;
    if (full.other > 0) traffic.efficiency = full.other / std::max(full.other / library_.nic_share, inside);
  }

  ExpertLibrary library_;
  bool host_waits_;
};

double read_share(Reader& reader, std::string_view name, std::string_view help, double fallback) {
  return reader.number({.name = name, .help = help, .fallback = fallback, .at_least = 0.01, .at_most = 1.0});
}

}  // namespace

std::unique_ptr<const Collective> make_expert_kernels(Reader& reader, ExpertLibrary library) {
  const auto startup = [&](std::string_view name, std::string_view help, ExchangeKernel& kernel) {
    kernel.startup =
        reader.time({.name = name, .help = help, .fallback = kernel.startup, .at_least = Time{0}});
  };
  startup("startup", "launch of a dispatch, and barriers of its ranks", library.out);
  startup("combine_startup", "the same of a combine", library.home);
  library.nic_share =
      read_share(reader, "efficiency", "share of NICs' rates that is reached with multiprocessors enough",
                 library.nic_share);
  library.nvlink_share =
      read_share(reader, "nvlink_efficiency", "the same of NVLink's rate", library.nvlink_share);
  const bool host_waits =
      reader.flag({.name = "host_waits",
                   .help = "the host reads how many rows come before it launches the kernels that send them "
                           "out; false: buffers have a given size",
                   .fallback = true});
  return std::make_unique<ExpertKernels>(library, host_waits);
}

}  // namespace moesim
