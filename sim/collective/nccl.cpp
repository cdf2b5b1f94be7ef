// What NCCL would choose: rings in one of its three protocols, or, inside a node whose NVSwitch can, a
// reduction in the switch (NVLS); an all-to-all as sends to all at once. The choice is the least time that
// NCCL predicts; how fast things then go, nccl_pace.cpp says, or a table of the machine at hand.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/collective/link_loads.hpp"
#include "sim/collective/measured.hpp"
#include "sim/collective/nccl_pace.hpp"
#include "sim/collective/ring.hpp"
#include "sim/collective/settings.hpp"

namespace moesim {
namespace {

/// Seconds that the flows take with all links to themselves, at their full rates.
double alone(const std::vector<Flow>& flows, const Fabric& fabric) {
  double longest = 0;
  for (const LinkBytes& one : bytes_by_link(flows, fabric))
    longest = std::max(longest, one.bytes / fabric.link(one.link).rate.count);
  return longest;
}

class Nccl final : public Collective {
 public:
  Nccl(const CollectiveSettings& settings, const NcclGeneration& generation, bool uses_switch,
       std::optional<MeasuredCollectives> table)
      : settings_(settings), generation_(generation), uses_switch_(uses_switch), table_(std::move(table)) {}

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    const bool sends = request.operation == Operation::all_to_all;
    if (!sends && request.operation != Operation::all_reduce &&
        request.operation != Operation::reduce_scatter && request.operation != Operation::all_gather) {
      refuse("nccl", request.operation, "all_reduce, reduce_scatter, all_gather and all_to_all");
    }
    double predicted = 0;
    Traffic best = sends ? exchange(request, fabric) : rings(request, fabric, predicted);
    const bool in_a_node = nodes_of(request.group, fabric) == 1 && request.group.size() > 1;
    if (in_a_node && takes_switch(request, predicted, fabric))
      best = in_switch(request, fabric);
    else if (in_a_node && table_)
      take_measured(best, request, fabric);
    best.latency += settings_.startup;
    best.efficiency *= settings_.efficiency;
    best.nvlink_efficiency *= settings_.efficiency;
    return best;
  }

 private:
  /// `predicted`: the seconds that NCCL predicts.
  Traffic rings(const Request& request, const Fabric& fabric, double& predicted) const {
    const auto n = static_cast<std::int64_t>(request.group.size());
    const double bytes = static_cast<double>(request.bytes.count) * sent_share(request.operation, n);
    Traffic traffic{
        .flows = ring_flows(request.group, bytes, fabric), .latency = {}, .efficiency = 1, .messages = 0};
    const RingPace found = ring_pace(generation_, {.operation = request.operation,
                                                   .ranks = n,
                                                   .nodes = nodes_of(request.group, fabric),
                                                   .sent = bytes,
                                                   .seconds = std::max(alone(traffic.flows, fabric), 1e-12),
                                                   .nvlink = first_rate(request.group, fabric)});
    predicted = found.predicted;
    pass_at(traffic, found.pace);
    const std::int64_t rounds = request.operation == Operation::all_reduce ? 2 : 1;
    traffic.messages = static_cast<std::int64_t>(traffic.flows.size()) * rounds * (n - 1);
    return traffic;
  }

  /// Each rank sends to all others at once.
  Traffic exchange(const Request& request, const Fabric& fabric) const {
    Traffic traffic = sends_to_all(request, fabric);
    pass_at(traffic, exchange_pace(generation_, {.ranks = static_cast<std::int64_t>(request.group.size()),
                                                 .nodes = nodes_of(request.group, fabric),
                                                 .sent = sent_by_a_rank(request, traffic),
                                                 .longest = traffic.latency,
                                                 .nvlink = first_rate(request.group, fabric)}));
    return traffic;
  }

  static void pass_at(Traffic& traffic, const NcclPace& pace) {
    traffic.latency = pace.latency;
    traffic.efficiency = pace.share;
    traffic.nvlink_efficiency = pace.nvlink_share;
  }

  /// On average.
  static double sent_by_a_rank(const Request& request, const Traffic& traffic) {
    double bytes = 0;
    for (const Flow& flow : traffic.flows) bytes += flow.bytes;
    for (const Exchange& exchange : traffic.exchanges)
      bytes += exchange.bytes * static_cast<double>(exchange.flow_count());
    return bytes / static_cast<double>(request.group.size());
  }

  /// On the way from the first rank to the second.
  static const Link& first_link(std::span<const DeviceId> group, const Fabric& fabric) {
    std::vector<LinkId> route;
    fabric.route(group[0], group[1], route);
    return fabric.link(route.front());
  }

  /// Of that link; of one rank alone any.
  static Rate first_rate(std::span<const DeviceId> group, const Fabric& fabric) {
    return group.size() > 1 ? first_link(group, fabric).rate : Rate{1};
  }

  /// A table that was measured with NVLS holds what came of that choice.
  bool takes_switch(const Request& request, double rings, const Fabric& fabric) const {
    if (request.operation != Operation::all_reduce || !uses_switch_ || request.group.size() < 3) return false;
    if (table_ && table_->has_nvls && table_->has(request.operation)) return false;
    const Traffic sum = in_switch(request, fabric);
    return to_seconds(sum.latency) + alone(sum.flows, fabric) / sum.efficiency < rings;
  }

  /// Each rank's buffer goes up once to be reduced and its reduced shard once to be spread; down comes its
  /// shard, and the result: (n + 1) / n of the buffer each way.
  Traffic in_switch(const Request& request, const Fabric& fabric) const {
    const auto n = static_cast<std::int64_t>(request.group.size());
    const auto ranks = static_cast<double>(n), buffer = static_cast<double>(request.bytes.count);
    Traffic traffic{.flows = ring_flows(request.group, buffer * (ranks + 1) / ranks, fabric),
                    .latency = {},
                    .efficiency = 1,
                    .messages = 2 * n};
    pass_at(traffic, switch_pace(generation_, n, buffer));
    return traffic;
  }

  /// Inside a node traffic of an operation that was measured takes, alone, the time that was measured.
  void take_measured(Traffic& traffic, const Request& request, const Fabric& fabric) const {
    const Link& link = first_link(request.group, fabric);
    if (link.link_class != LinkClass::nvlink) {
      throw InputError("collectives",
                       fmt::format("'table' was measured over NVLink, and devices of a node are joined by {}",
                                   at(link_class_names, link.link_class)));
    }
    const auto ranks = static_cast<std::int64_t>(request.group.size());
    const double bytes = sent_by_a_rank(request, traffic) / sent_share(request.operation, ranks);
    const Time longest = longest_latency(request.group, fabric);
    const auto law = [&](std::int64_t count, double size) {
      return passage(request.operation, count, size * sent_share(request.operation, count), longest);
    };
    if (const std::optional<Passage> found = table_->passage(request.operation, ranks, bytes, law)) {
      const double share =
          bytes * sent_share(request.operation, ranks) / table_->link_rate.count / found->seconds;
      pass_at(traffic, {from_seconds(found->startup), share, share});
    }
  }

  /// Of `sent` bytes a rank, on links of the measured cluster.
  Passage passage(Operation operation, std::int64_t ranks, double sent, Time longest) const {
    const Rate rate = table_->link_rate;
    const double seconds = sent / rate.count;
    const NcclPace pace =
        operation == Operation::all_to_all
            ? exchange_pace(generation_, {.ranks = ranks, .sent = sent, .longest = longest, .nvlink = rate})
            : ring_pace(
                  generation_,
                  {.operation = operation, .ranks = ranks, .sent = sent, .seconds = seconds, .nvlink = rate})
                  .pace;
    return {.startup = to_seconds(pace.latency), .seconds = seconds / pace.nvlink_share};
  }

  CollectiveSettings settings_;
  const NcclGeneration& generation_;
  bool uses_switch_;
  std::optional<MeasuredCollectives> table_;
};

const NcclGeneration& read_generation(Reader& reader) {
  const auto generation = static_cast<Generation>(
      reader.choice({.name = "generation",
                     .help = "of the GPUs: what their links and NVSwitch can do; not given or none: that of "
                             "the cluster's device",
                     .fallback = "none"},
                    generation_names));
  if (generation != Generation::none) return nccl_generation(generation);
  if (!reader.is_describing())
    reader.fail("generation",
                fmt::format("is that of the cluster's device, which has none, expected one of {}",
                            fmt::join(std::begin(generation_names) + 1, std::end(generation_names), ", ")));
  return nccl_generation(Generation::hopper);
}

std::unique_ptr<const Collective> make(Reader& reader) {
  const CollectiveSettings settings = read_collective_settings(reader, {});
  const NcclGeneration& generation = read_generation(reader);
  const bool may_use_switch =
      reader.flag({.name = "nvls",
                   .help = "all-reduces may run in NVSwitch where it can (NCCL_NVLS_ENABLE)",
                   .fallback = true});
  std::optional<MeasuredCollectives> table;
  if (std::optional<Reader> part = reader.optional_part(
          "table",
          "times of collectives inside a node that moesim calibrate --collectives wrote: they hold "
          "there instead of the generation's numbers"))
    table = read_measured_collectives(*part);
  return std::make_unique<Nccl>(settings, generation, may_use_switch && has_switch(generation),
                                std::move(table));
}

}  // namespace

extern constexpr Entry<Collective> nccl_collective{
    "nccl",
    "the protocol that NCCL would choose, reductions in NVSwitch included (all_reduce, "
    "reduce_scatter, all_gather, all_to_all)",
    make};

}  // namespace moesim
