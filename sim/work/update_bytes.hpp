// Device memory of the update and of what is on its way: the optimizer's state, gradients, buffers. Functions
// of sizes, for whoever knows them: a report those of a scenario, a search those of every plan.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "models/base/units.hpp"
#include "models/software/narrow_weights.hpp"
#include "models/transformer/op.hpp"
#include "sim/gradient/gradient_sync.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/work/holdings.hpp"

namespace moesim {

/// Parameters on one device, in elements.
struct HeldElements {
  std::int64_t replicated = 0;     ///< also held by every data-parallel rank
  std::int64_t experts = 0;        ///< also held by the expert-data-parallel ranks
  std::int64_t largest = 0;        ///< of the layer, or end of the model, that has most: gathered at a time
  std::int64_t largest_layer = 0;  ///< of the layer that has most
  std::int64_t ends = 0;           ///< of the ends of the model
  std::int64_t rest = 0;           ///< of the replicated: embedding, head and norms
  HeldTensors tensors{}, expert_tensors{};
  std::int64_t narrow = 0, narrow_experts = 0;  ///< as in Holdings
  std::int64_t total() const { return replicated + experts; }
  HeldElements& operator+=(const HeldElements& more) {
    replicated += more.replicated;
    experts += more.experts;
    largest = std::max(largest, more.largest);
    largest_layer = std::max(largest_layer, more.largest_layer);
    ends += more.ends;
    rest += more.rest;
    tensors += more.tensors;
    expert_tensors += more.expert_tensors;
    narrow += more.narrow;
    narrow_experts += more.narrow_experts;
    return *this;
  }
  friend bool operator==(const HeldElements&, const HeldElements&) = default;
};

/// Of one layer, and of one end of the model.
HeldElements elements_of_layer(const Holdings& unit);
HeldElements elements_of_end(const Holdings& unit);
/// Of all that a pipeline rank holds.
HeldElements held_elements(const Scenario& scenario, std::int64_t pipeline_rank);

/// Ranks that hold the same parameters.
struct HolderCounts {
  std::int64_t replicated = 1, experts = 1;
};

HolderCounts holders_of(const Scenario& scenario);
/// Of these the ranks over which a plan shards.
inline HolderCounts sharers_of(const HolderCounts& holders, const GradientPlan& plan) {
  return {plan.shards_over(holders.replicated), plan.shards_over(holders.experts)};
}

/// The part of one of several holders, rounded up.
inline std::int64_t shard_of(std::int64_t elements, std::int64_t holders) {
  return (elements + holders - 1) / holders;
}
inline std::int64_t shard_of(const HeldElements& held, const HolderCounts& holders) {
  return shard_of(held.replicated, holders.replicated) + shard_of(held.experts, holders.experts);
}

/// What the update needs from step to step, and on its way.
struct UpdateBytes {
  Bytes parameters, gradients, optimizer, buffers;
  Bytes working;  ///< while the optimizer runs and activations are gone
  Bytes total() const { return parameters + gradients + optimizer + buffers; }
};

/// What the scenario's software does with weights in fp8 or fp4: its parameters, or copies of them; nothing
/// where there are neither.
NarrowWeights narrow_weights_of(const Scenario& scenario);
/// Bytes of so many parameters in a gather, of which so many are operands of products in fp8.
Bytes sent_parameters(const Scenario& scenario, std::int64_t all, std::int64_t narrow);

/// Gradients that a device holds of so many parameters.
Bytes gradient_bytes(const HeldElements& held, const HolderCounts& holders, const GradientPlan& plan,
                     const PrecisionPlan& precision);

/// Of a layer of so many elements that is a unit, while its backward runs, beyond the buffers of
/// update_bytes(), which are those of the moment of the loss.
Bytes unit_bytes_in_backward(std::int64_t layer, const HeldElements& held, const HolderCounts& holders,
                             const GradientPlan& plan);

/// Of the device that holds most: with a server, the server. `plan` may be another than the scenario's.
UpdateBytes update_bytes(const HeldElements& held, const HolderCounts& holders, const GradientPlan& plan,
                         const Scenario& scenario);

/// Of the exchange of a layer in which a device computes so many rows: those that arrive for local experts,
/// and as many on their way back.
Bytes exchange_buffer(const Scenario& scenario, std::int64_t rows);

/// Keys and values of other context-parallel ranks in these ops: gathered whole, or in a ring a block in use
/// and one that comes; in backward as much for gradients.
Bytes context_buffer(const Scenario& scenario, const std::vector<Op>& forward);

}  // namespace moesim
