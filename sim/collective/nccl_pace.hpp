// How fast NCCL's algorithms go: the protocol that it would choose, when its bytes begin to flow, and at
// which share of the links' rates.
#pragma once

#include <cstdint>
#include <string_view>

#include "models/cluster/device.hpp"
#include "sim/collective/collective.hpp"

namespace moesim {

/// What differs between generations of GPUs: how their links and NVSwitch are used.
struct NcclGeneration;
/// Of one that is known.
const NcclGeneration& nccl_generation(Generation generation);
bool has_switch(const NcclGeneration& generation);

/// How a communication goes: when its bytes begin to flow, and which shares of the links' rates they reach.
struct NcclPace {
  Time latency;
  double share = 1, nvlink_share = 1;
};

/// Rings: what each rank sends on its NVLink, and the seconds that the bytes take at the links' full rates.
struct RingWay {
  Operation operation = Operation::all_reduce;
  std::int64_t ranks = 2, nodes = 1;
  double sent = 0, seconds = 0;
  Rate nvlink{1};
};
struct RingPace {
  NcclPace pace;
  double predicted = 0;  ///< seconds, as NCCL predicts them for its choice
};
/// In the protocol that NCCL predicts to end first.
RingPace ring_pace(const NcclGeneration& generation, const RingWay& way);

/// Sends of each rank to all others at once: what each sends in all, after the longest way in the group.
struct ExchangeWay {
  std::int64_t ranks = 2, nodes = 1;
  double sent = 0;
  Time longest;
  Rate nvlink{1};
};
NcclPace exchange_pace(const NcclGeneration& generation, const ExchangeWay& way);

/// An all-reduce of `buffer` bytes in the switch of one node.
NcclPace switch_pace(const NcclGeneration& generation, std::int64_t ranks, double buffer);

}  // namespace moesim
