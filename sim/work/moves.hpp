// What devices send each other when the experts of layers are placed anew.
#pragma once

#include <cstdint>
#include <vector>

#include "models/routing/expert_placement.hpp"
#include "sim/collective/collective.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Where the experts of each layer are; a dense layer's is empty.
using Placements = std::vector<ExpertPlacement>;

/// Bytes that a device has of one expert of a layer, as far as they go with it when it moves: its parameters,
/// or its shard of them, and with Carried::states also its part of the optimizer's state.
Bytes bytes_of_expert(const Scenario& scenario, std::int64_t layer, Carried carried);

/// What all devices send so that placements `before` become `after`, in every expert group and on every
/// pipeline rank that holds a layer. One flow for each pair of devices, in the order of senders and
/// receivers.
std::vector<Flow> moving_flows(const Scenario& scenario, const Placements& before, const Placements& after);

}  // namespace moesim
