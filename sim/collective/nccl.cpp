// What NCCL would choose: rings in one of its three protocols, or, inside a node whose NVSwitch can, a
// reduction in the switch (NVLS); an all-to-all as sends to all at once. The choice is the least predicted
// time, as NCCL's own; latencies and efficiencies are those that its source gives (NVIDIA/nccl,
// src/graph/tuning.cc, version 2.27), but for what was measured on NVLink.
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "models/base/at.hpp"
#include "sim/collective/link_loads.hpp"
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

class Nccl final : public Collective {
 public:
  Nccl(const CollectiveSettings& settings, const Generation& generation, bool uses_switch)
      : settings_(settings), generation_(generation), uses_switch_(uses_switch) {}

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    if (request.operation == Operation::all_to_all) return exchange(request, fabric);
    if (request.operation != Operation::all_reduce && request.operation != Operation::reduce_scatter &&
        request.operation != Operation::all_gather) {
      refuse("nccl", request.operation, "all_reduce, reduce_scatter, all_gather and all_to_all");
    }
    Traffic best = rings(request, fabric);
    const bool in_a_node = nodes_of(request.group, fabric) == 1;
    if (request.operation == Operation::all_reduce && in_a_node && uses_switch_ && request.group.size() > 2) {
      Traffic other = in_switch(request, fabric);
      if (time_of(other, fabric) < time_of(best, fabric)) best = std::move(other);
    }
    best.latency += settings_.startup;
    best.efficiency *= settings_.efficiency;
    best.nvlink_efficiency *= settings_.efficiency;  // 0: as on other links
    return best;
  }

 private:
  static double time_of(const Traffic& traffic, const Fabric& fabric) {
    return to_seconds(traffic.latency) + alone(traffic.flows, fabric) / traffic.efficiency;
  }

  /// Rings in the protocol that ends first.
  Traffic rings(const Request& request, const Fabric& fabric) const {
    const auto n = static_cast<std::int64_t>(request.group.size());
    const std::int64_t nodes = nodes_of(request.group, fabric);
    const std::int64_t rounds = request.operation == Operation::all_reduce ? 2 : 1;
    const std::int64_t steps = rounds * (n - 1);
    const std::int64_t between = nodes > 1 ? std::min(steps, rounds * nodes) : 0;
    const double bytes = static_cast<double>(request.bytes.count) * static_cast<double>(steps) /
                         static_cast<double>(std::max<std::int64_t>(1, n));
    Traffic best{
        .flows = ring_flows(request.group, bytes, fabric), .latency = {}, .efficiency = 1, .messages = 0};
    const double seconds = std::max(alone(best.flows, fabric), 1e-12);
    double least = INFINITY;
    const Protocol* chosen = nullptr;
    for (const Protocol& protocol : protocols) {
      const double polled = at(generation_.most_polled, std::min<std::int64_t>(nodes, 3) - 1);
      const double share =
          protocol.is_capped ? std::min(protocol.share, polled / (bytes / seconds)) : protocol.share;
      const Time latency = protocol.base + protocol.inside * (steps - between) + protocol.between * between;
      if (to_seconds(latency) + seconds / share >= least) continue;
      least = to_seconds(latency) + seconds / share;
      chosen = &protocol;
      best.latency = latency;
      best.efficiency = share;
    }
    if (chosen == &protocols.back()) {
      const bool sums = request.operation == Operation::all_reduce;
      best.latency += generation_.ring_setup;
      best.nvlink_efficiency = best.efficiency * (sums ? generation_.reduce_share : generation_.gather_share);
    }
    best.messages = static_cast<std::int64_t>(best.flows.size()) * steps;
    return best;
  }

  /// Each rank sends to all others at once.
  Traffic exchange(const Request& request, const Fabric& fabric) const {
    Traffic traffic = sends_to_all(request, fabric);
    const Time ramp =
        std::min(generation_.exchange_ramp, from_seconds(mean_seconds(request, traffic, fabric)));
    traffic.latency += settings_.startup + generation_.exchange_setup + ramp;
    traffic.efficiency = settings_.efficiency;
    traffic.nvlink_efficiency = settings_.efficiency * generation_.gather_share;
    return traffic;
  }

  /// What a rank sends on average, over the first link on its way.
  static double mean_seconds(const Request& request, const Traffic& traffic, const Fabric& fabric) {
    if (request.group.size() < 2) return 0;
    double bytes = 0;
    for (const Flow& flow : traffic.flows) bytes += flow.bytes;
    for (const Exchange& exchange : traffic.exchanges)
      bytes += exchange.bytes * static_cast<double>(exchange.flow_count());
    std::vector<LinkId> route;
    fabric.route(request.group[0], request.group[1], route);
    return bytes / static_cast<double>(request.group.size()) / fabric.link(route.front()).rate.count;
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

  CollectiveSettings settings_;
  const Generation& generation_;
  bool uses_switch_;
};

std::unique_ptr<const Collective> make(Reader& reader) {
  const CollectiveSettings settings = read_collective_settings(reader, {});
  const std::size_t generation = reader.choice(
      {.name = "generation", .help = "of the GPUs: what their links and NVSwitch can do"}, generation_names);
  const bool may_use_switch =
      reader.flag({.name = "nvls",
                   .help = "all-reduces may run in NVSwitch where it can (NCCL_NVLS_ENABLE)",
                   .fallback = true});
  return std::make_unique<Nccl>(settings, generations[generation],
                                may_use_switch && generations[generation].switch_share > 0);
}

}  // namespace

extern constexpr Entry<Collective> nccl_collective{
    "nccl",
    "the protocol that NCCL would choose, reductions in NVSwitch included (all_reduce, "
    "reduce_scatter, all_gather, all_to_all)",
    make};

}  // namespace moesim
