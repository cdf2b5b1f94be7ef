// What NCCL would choose: rings in one of its three protocols, or, inside a node whose NVSwitch can, a
// reduction in the switch (NVLS); an all-to-all as sends to all at once. The choice is the least predicted
// time, as NCCL's own; latencies and efficiencies are those that its source gives (NVIDIA/nccl,
// src/graph/tuning.cc, version 2.27), but for what was measured on NVLink: by these numbers, or by a table
// of the machine at hand.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/collective/link_loads.hpp"
#include "sim/collective/measured.hpp"
#include "sim/collective/ring.hpp"
#include "sim/collective/settings.hpp"

namespace moesim {
namespace {

using namespace literals;

/// A protocol on rings. Low-latency ones send flags with the data, and fewer bytes of it for that.
struct Protocol {
  Time base;             ///< once (baseLatencies)
  Time inside, between;  ///< each hop inside a node, each hop between nodes (hwLatencies)
  double share;          ///< of the links' rates
  bool is_capped;        ///< also by what polling for flags allows
};

constexpr std::array<Protocol, 3> protocols{
    {{6600_ns, 600_ns, 2700_ns, 0.5, true},       // LL: 8 bytes, 4 of them flags
     {14000_ns, 1900_ns, 4000_ns, 0.92, false},   // LL128: 128 bytes, 8 of them flags
     {8400_ns, 3400_ns, 14000_ns, 1.0, false}}};  // Simple

/// What differs between generations of GPUs.
struct Generation {
  std::array<double, 3> most_polled;  ///< bytes a second of a rank in LL on 1, 2, and more nodes (llMaxBws)
  double switch_share = 0;            ///< of the links' rates in the switch (nvlsEfficiency); 0: it cannot
  double channels = 1;                ///< of NVLS
  double reduce_share = 1;            ///< of NVLink's rate that all-reduces reach on rings in Simple
  double gather_share = 1;            ///< the same of the other operations on rings, and of exchanges
  Time ring_setup = {};               ///< of a ring in Simple, beyond the latencies of its hops
  Time exchange_setup = {};           ///< of an exchange, beyond the longest way
  Time exchange_ramp = {};            ///< until an exchange is at full speed; it is at half speed before
};
/// Hopper's last five numbers: four H200 of one node, 1 to 512 MiB, calls in a CUDA graph, no NVLS, two
/// series (the second is configs/validation/measured.json). Between 256 and 512 MiB, of 370.8 GB/s:
/// all-reduce 355, all-gather 329, reduce-scatter 322, all-to-all 326; what is left of 16 to 512 MiB is 24 to
/// 36 us of an all-gather, 26 to 45 of an all-reduce, 30 to 33 of an all-to-all, of which 15 us at 1 MiB.
/// NCCL chooses without them, so they do not take part in the choice; for groups on several nodes they are
/// extrapolated.
constexpr std::string_view generation_names[] = {"ampere", "hopper", "blackwell"};
constexpr std::array<Generation, 3> generations{
    Generation{.most_polled = {87.7e9, 22.5e9, 19e9}},
    Generation{.most_polled = {141e9, 45e9, 35e9},
               .switch_share = 0.85,
               .channels = 16,
               .reduce_share = 0.957,
               .gather_share = 0.878,
               .ring_setup = 12_us,
               .exchange_setup = 9_us,
               .exchange_ramp = 18_us},
    Generation{.most_polled = {282e9, 90e9, 70e9}, .switch_share = 0.74, .channels = 24}};
constexpr Time switch_latency = 25_us;

/// Seconds that the flows take with all links to themselves, at their full rates.
double alone(const std::vector<Flow>& flows, const Fabric& fabric) {
  LinkLoads loads(fabric);
  loads.add({.flows = flows, .latency = {}});
  return loads.seconds();
}

/// Data goes through the switch in chunks: copied in, reduced and spread, copied out. The last chunk leaves
/// two chunks' time after it would with one stage; chunks shrink with the buffer (src/enqueue.cc).
double pipeline_stretch(double bytes, double concurrent) {
  double chunk = 131072;
  if (bytes < 64 * concurrent * chunk) chunk = 65536;
  if (bytes < 8 * concurrent * chunk) chunk = 32768;
  if (bytes < 2 * concurrent * chunk) chunk = 16384;
  const double chunks = std::max(1.0, bytes / (concurrent * chunk));
  return (chunks + 2) / chunks;
}

/// How a communication goes: when its bytes begin to flow, and which shares of the links' rates they reach.
struct Pace {
  Time latency;
  double share = 1, nvlink_share = 1;
};

class Nccl final : public Collective {
 public:
  Nccl(const CollectiveSettings& settings, const Generation& generation, bool uses_switch,
       std::optional<MeasuredCollectives> table)
      : settings_(settings), generation_(generation), uses_switch_(uses_switch), table_(std::move(table)) {}

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    const bool sends = request.operation == Operation::all_to_all;
    if (!sends && request.operation != Operation::all_reduce &&
        request.operation != Operation::reduce_scatter && request.operation != Operation::all_gather) {
      refuse("nccl", request.operation, "all_reduce, reduce_scatter, all_gather and all_to_all");
    }
    Traffic best = sends ? exchange(request, fabric) : rings(request, fabric);
    const bool in_a_node = nodes_of(request.group, fabric) == 1 && request.group.size() > 1;
    if (in_a_node && takes_switch(request, best, fabric))
      best = in_switch(request, fabric);
    else if (in_a_node && table_)
      take_measured(best, request, fabric);
    best.latency += settings_.startup;
    best.efficiency *= settings_.efficiency;
    best.nvlink_efficiency *= settings_.efficiency;
    return best;
  }

 private:
  /// As NCCL predicts it for its choice: without what it does not know of NVLink.
  static double time_of(const Traffic& traffic, const Fabric& fabric) {
    return to_seconds(traffic.latency) + alone(traffic.flows, fabric) / traffic.efficiency;
  }

  /// Rings in the protocol that ends first: `sent` bytes over each link, which takes `seconds` at full rate.
  Pace ring_pace(Operation operation, std::int64_t ranks, std::int64_t nodes, double sent,
                 double seconds) const {
    const std::int64_t rounds = operation == Operation::all_reduce ? 2 : 1;
    const std::int64_t steps = rounds * (ranks - 1);
    const std::int64_t between = nodes > 1 ? std::min(steps, rounds * nodes) : 0;
    Pace best;
    double least = INFINITY;
    const Protocol* chosen = nullptr;
    for (const Protocol& protocol : protocols) {
      const double polled = at(generation_.most_polled, std::min<std::int64_t>(nodes, 3) - 1);
      const double share =
          protocol.is_capped ? std::min(protocol.share, polled / (sent / seconds)) : protocol.share;
      const Time latency = protocol.base + protocol.inside * (steps - between) + protocol.between * between;
      if (to_seconds(latency) + seconds / share >= least) continue;
      least = to_seconds(latency) + seconds / share;
      chosen = &protocol;
      best = {.latency = latency, .share = share, .nvlink_share = share};
    }
    if (chosen == &protocols.back()) {
      best.latency += generation_.ring_setup;
      best.nvlink_share *= ring_share(operation, ranks);
    }
    return best;
  }

  /// Of NVLink's rate that rings in Simple reach.
  double ring_share(Operation operation, std::int64_t /*ranks*/) const {
    return operation == Operation::all_reduce ? generation_.reduce_share : generation_.gather_share;
  }

  /// An exchange: after the longest way in the group, what a rank sends takes `seconds` on its own link.
  Pace exchange_pace(Time longest, double seconds) const {
    const Time ramp = std::min(generation_.exchange_ramp, from_seconds(seconds));
    return {.latency = longest + generation_.exchange_setup + ramp, .nvlink_share = generation_.gather_share};
  }

  Traffic rings(const Request& request, const Fabric& fabric) const {
    const auto n = static_cast<std::int64_t>(request.group.size());
    const double bytes = static_cast<double>(request.bytes.count) * sent_share(request.operation, n);
    Traffic traffic{
        .flows = ring_flows(request.group, bytes, fabric), .latency = {}, .efficiency = 1, .messages = 0};
    const double seconds = std::max(alone(traffic.flows, fabric), 1e-12);
    pass_at(traffic, ring_pace(request.operation, n, nodes_of(request.group, fabric), bytes, seconds));
    const std::int64_t rounds = request.operation == Operation::all_reduce ? 2 : 1;
    traffic.messages = static_cast<std::int64_t>(traffic.flows.size()) * rounds * (n - 1);
    return traffic;
  }

  /// Each rank sends to all others at once.
  Traffic exchange(const Request& request, const Fabric& fabric) const {
    Traffic traffic = sends_to_all(request, fabric);
    double seconds = 0;
    if (request.group.size() > 1)
      seconds = sent_by_a_rank(request, traffic) / first_link(request.group, fabric).rate.count;
    pass_at(traffic, exchange_pace(traffic.latency, seconds));
    return traffic;
  }

  static void pass_at(Traffic& traffic, const Pace& pace) {
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

  /// A table that was measured with NVLS holds what came of that choice.
  bool takes_switch(const Request& request, const Traffic& rings, const Fabric& fabric) const {
    if (request.operation != Operation::all_reduce || !uses_switch_ || request.group.size() < 3) return false;
    if (table_ && table_->has_nvls && table_->has(request.operation)) return false;
    return time_of(in_switch(request, fabric), fabric) < time_of(rings, fabric);
  }

  /// Each rank's buffer goes up once to be reduced and its reduced shard once to be spread; down comes its
  /// shard, and the result: (n + 1) / n of the buffer each way.
  Traffic in_switch(const Request& request, const Fabric& fabric) const {
    const auto n = static_cast<double>(request.group.size());
    const double buffer = static_cast<double>(request.bytes.count);
    Traffic traffic{.flows = ring_flows(request.group, buffer * (n + 1) / n, fabric),
                    .latency = switch_latency,
                    .efficiency = 1,
                    .messages = 0};
    const double spared = (generation_.channels - 1) / generation_.channels;
    traffic.efficiency =
        generation_.switch_share * spared / pipeline_stretch(buffer, generation_.channels * n);
    traffic.messages = static_cast<std::int64_t>(2 * n);
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
    const auto law = [&](std::int64_t count, double size) {
      const double sent = size * sent_share(request.operation, count);
      const double seconds = sent / table_->link_rate.count;
      const Pace pace = request.operation == Operation::all_to_all
                            ? exchange_pace(longest_latency(request.group, fabric), seconds)
                            : ring_pace(request.operation, count, 1, sent, seconds);
      return Passage{.startup = to_seconds(pace.latency), .seconds = seconds / pace.nvlink_share};
    };
    if (const std::optional<Passage> found = table_->passage(request.operation, ranks, bytes, law)) {
      const double share =
          bytes * sent_share(request.operation, ranks) / table_->link_rate.count / found->seconds;
      pass_at(traffic, {from_seconds(found->startup), share, share});
    }
  }

  CollectiveSettings settings_;
  const Generation& generation_;
  bool uses_switch_;
  std::optional<MeasuredCollectives> table_;
};

std::unique_ptr<const Collective> make(Reader& reader) {
  const CollectiveSettings settings = read_collective_settings(reader, {});
  const std::size_t generation = reader.choice(
      {.name = "generation", .help = "of the GPUs: what their links and NVSwitch can do"}, generation_names);
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
  return std::make_unique<Nccl>(settings, generations[generation],
                                may_use_switch && generations[generation].switch_share > 0, std::move(table));
}

}  // namespace

extern constexpr Entry<Collective> nccl_collective{
    "nccl",
    "the protocol that NCCL would choose, reductions in NVSwitch included (all_reduce, "
    "reduce_scatter, all_gather, all_to_all)",
    make};

}  // namespace moesim
