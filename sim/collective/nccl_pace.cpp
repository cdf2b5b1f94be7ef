// Latencies and shares that NCCL chooses by are those of its source (NVIDIA/nccl, src/graph/tuning.cc and
// search.cc, version 2.28); what then happens on Hopper's NVLink inside a node was measured.
//
// One law holds for rings and exchanges alike: a block of threads sends a chunk into its peer's buffer, and
// copies (or adds) what it was sent from its own buffer to where it belongs. On a ring
// (src/device/all_gather.h, reduce_scatter.h, all_reduce.h) all chunks of a round but the last are sent on
// while they are received; the last is received with nothing sent meanwhile, once for each shard of a buffer.
// With two ranks that is one chunk for each one sent, with four one for three. Channels begin together and
// drift apart round by round, so that more and more of that falls beside what other channels send. An
// exchange (src/device/sendrecv.h) sends and receives with different warps: only the very last chunk is
// copied with nothing sent.
#include "sim/collective/nccl_pace.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/base/at.hpp"

namespace moesim {
namespace {

using namespace literals;

constexpr double kib = 1024;

/// A protocol on rings, as NCCL predicts it. Low-latency ones send flags with the data, and fewer bytes of it
/// for that.
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

/// A protocol on rings over NVLink, as measured.
struct RingTimes {
  Time base, hop;   ///< once, and for each hop inside a node
  double received;  ///< bytes a second of what is received with nothing sent meanwhile
  double apart;  ///< bytes of a shard in which channels drift apart by a factor of e; 0: they stay together
};

/// Exchanges over NVLink inside a node, as measured. Sends to a peer go over several channels, each a block.
struct ExchangeTimes {
  Time polled_setup;  ///< in LL, beyond the longest way
  double polled;      ///< bytes a second of a rank in LL
  Time setup;         ///< in Simple, beyond the longest way
  double share;       ///< of NVLink's rate
  double sent;        ///< bytes a second of a channel at most, while it receives as well
  double copied;      ///< bytes a second of a channel, of a chunk out of its buffer
};

struct Measured {
  std::array<RingTimes, 3> rings;  ///< LL, LL128, Simple
  ExchangeTimes exchange;
};

/// Two H200, the even powers of two from 1 KiB to 1 GiB (the odd ones judge), and four, 16 KiB to 256 MiB
/// (configs/calibration/measurements-collectives-h200.json): the least squares of the errors' logarithms.
/// LL128 with NCCL_PROTO=LL128, 256 KiB to 16 MiB. Simple's hop is NCCL's own, which a free one did not
/// better; it drifts by a factor of e in nine rounds of 24 channels and 2 MiB.
constexpr Measured on_hopper{
    .rings = {{{5200_ns, 850_ns, 350e9, 0}, {10800_ns, 1600_ns, 470e9, 0}, {12_us, 3400_ns, 620e9, 440e6}}},
    .exchange = {.polled_setup = 4_us,
                 .polled = 106e9,
                 .setup = 5700_ns,
                 .share = 0.876,
                 .sent = 18.75e9,
                 .copied = 34e9}};

/// Channels that sends to one peer go over, and how they are cut (src/enqueue.cc, addP2pToPlan; paths.cc).
struct Messages {
  double channels;           ///< to a peer, at most
  double chunk;              ///< bytes (p2pChunkSize)
  double polled = 16 * kib;  ///< bytes of each channel up to which LL is taken (P2P_LL_THRESHOLD)
};
constexpr Messages in_a_node{.channels = 32, .chunk = 512 * kib},
    across_nodes{.channels = 2, .chunk = 128 * kib};

/// Channels to each peer of one node: as many as there are for all of them, twice as many for parts of more
/// than 32 chunks.
double channels_to_a_peer(double ranks, double bytes) {
  double channels = in_a_node.channels;
  while (channels * ranks > in_a_node.channels && channels > 1) channels /= 2;
  while (bytes / channels > 32 * in_a_node.chunk && channels <= in_a_node.channels / 2) channels *= 2;
  return channels;
}

/// Of what is received last in each round, how much is not beside what other channels send: channels that
/// drift apart leave exp(-x) of it after x.
double exposed(double drift) { return drift > 0 ? -std::expm1(-drift) / drift : 1; }

constexpr Time switch_latency = 25_us;

/// Data goes through the switch in chunks: copied in, reduced and spread, copied out. The last chunk leaves
/// two chunks' time after it would with one stage; chunks shrink with the buffer (src/enqueue.cc).
double pipeline_stretch(double bytes, double concurrent) {
  double chunk = 128 * kib;
  if (bytes < 64 * concurrent * chunk) chunk = 64 * kib;
  if (bytes < 8 * concurrent * chunk) chunk = 32 * kib;
  if (bytes < 2 * concurrent * chunk) chunk = 16 * kib;
  const double chunks = std::max(1.0, bytes / (concurrent * chunk));
  return (chunks + 2) / chunks;
}

}  // namespace

struct NcclGeneration {
  std::array<double, 3> most_polled;   ///< bytes a second of a rank in LL on 1, 2, and more nodes (llMaxBws)
  double ring_share = 1;               ///< of NVLink's rate that whole rings fit in (search.cc)
  double switch_share = 0;             ///< of the links' rates in the switch (nvlsEfficiency); 0: it cannot
  double channels = 1;                 ///< of NVLS
  const Measured* measured = nullptr;  ///< on NVLink; nothing: what NCCL predicts
};

namespace {

constexpr std::array<NcclGeneration, 3> generations{
    NcclGeneration{.most_polled = {87.7e9, 22.5e9, 19e9}},
    NcclGeneration{.most_polled = {141e9, 45e9, 35e9},
                   .ring_share = 360 / 370.8,  // 24 rings of 15 GB/s in 18 links of 20.6
                   .switch_share = 0.85,
                   .channels = 16,
                   .measured = &on_hopper},
    NcclGeneration{.most_polled = {282e9, 90e9, 70e9}, .switch_share = 0.74, .channels = 24}};

struct Steps {
  std::int64_t all, between;  ///< hops of a shard, and how many of them leave a node
};

Steps steps_of(const RingWay& way) {
  const std::int64_t rounds = way.operation == Operation::all_reduce ? 2 : 1;
  const std::int64_t all = rounds * (way.ranks - 1);
  return {.all = all, .between = way.nodes > 1 ? std::min(all, rounds * way.nodes) : 0};
}

/// As NCCL predicts it.
NcclPace predicted_pace(const NcclGeneration& generation, const Protocol& protocol, const RingWay& way) {
  const Steps steps = steps_of(way);
  double share = protocol.share * (way.nodes == 1 ? generation.ring_share : 1);
  if (protocol.is_capped)
    share = std::min(share, at(generation.most_polled, std::min<std::int64_t>(way.nodes, 3) - 1) /
                                (way.sent / way.seconds));
  return {.latency = protocol.base + protocol.inside * (steps.all - steps.between) +
                     protocol.between * steps.between,
          .share = share,
          .nvlink_share = share};
}

/// As it goes on NVLink. Across nodes what was measured inside one holds for NVLink's part.
NcclPace measured_pace(const RingTimes& times, const Protocol& protocol, const RingWay& way,
                       const NcclPace& predicted) {
  const Steps steps = steps_of(way);
  NcclPace pace{
      .latency = times.base + times.hop * (steps.all - steps.between) + protocol.between * steps.between,
      .share = way.nodes == 1 ? protocol.share : predicted.share,
      .nvlink_share = way.nodes == 1 ? protocol.share : predicted.share};
  if (way.sent <= 0) return pace;
  const double shard = way.sent / static_cast<double>(steps.all);
  const double alone = shard / times.received * exposed(times.apart > 0 ? shard / times.apart : 0);
  const double full = way.sent / way.nvlink.count;
  pace.nvlink_share = full / (full / pace.nvlink_share + alone);
  return pace;
}

}  // namespace

const NcclGeneration& nccl_generation(Generation generation) {
  static_assert(std::size(generations) + 1 == std::size(generation_names));
  return at(generations, static_cast<std::size_t>(generation) - 1);  // none is before them
}

bool has_switch(const NcclGeneration& generation) { return generation.switch_share > 0; }

RingPace ring_pace(const NcclGeneration& generation, const RingWay& way) {
  RingPace best{.pace = {}, .predicted = INFINITY};
  std::size_t chosen = 0;
  for (std::size_t i = 0; i < protocols.size(); ++i) {
    const NcclPace pace = predicted_pace(generation, at(protocols, i), way);
    const double seconds = to_seconds(pace.latency) + way.seconds / pace.share;
    if (seconds >= best.predicted) continue;
    best = {.pace = pace, .predicted = seconds};
    chosen = i;
  }
  if (generation.measured != nullptr)
    best.pace = measured_pace(at(generation.measured->rings, chosen), at(protocols, chosen), way, best.pace);
  return best;
}

NcclPace exchange_pace(const NcclGeneration& generation, const ExchangeWay& way) {
  if (generation.measured == nullptr || way.ranks < 2) return {.latency = way.longest};
  const ExchangeTimes& times = generation.measured->exchange;
  const Messages& messages = way.nodes == 1 ? in_a_node : across_nodes;
  const auto peers = static_cast<double>(way.ranks - 1);
  const double part = way.sent / peers;  // to one peer
  if (part <= messages.channels * messages.polled)
    return {.latency = way.longest + times.polled_setup,
            .share = protocols.front().share,
            .nvlink_share = std::min(protocols.front().share, times.polled / way.nvlink.count)};
  double channels = messages.channels, share = times.share;
  if (way.nodes == 1) {
    channels = channels_to_a_peer(static_cast<double>(way.ranks), part);
    share = std::min(share, times.sent * channels * peers / way.nvlink.count);
  }
  const double last = std::min(messages.chunk, part / channels) / times.copied;
  return {.latency = way.longest + times.setup + from_seconds(last), .share = 1, .nvlink_share = share};
}

NcclPace switch_pace(const NcclGeneration& generation, std::int64_t ranks, double buffer) {
  const double spared = (generation.channels - 1) / generation.channels;
  const double share = generation.switch_share * spared /
                       pipeline_stretch(buffer, generation.channels * static_cast<double>(ranks));
  return {.latency = switch_latency, .share = share, .nvlink_share = share};
}

}  // namespace moesim
