// The programs of a scenario's layers with what each act takes: what `moesim schedule --layer` prints.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/estimate/price.hpp"
#include "sim/layer/program.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// An act on one rank, with nothing beside it. Bytes are those that the rank sends in a call, of parameters
/// that it needs, of gradients that it produces.
struct PricedAct {
  Act act;
  Time time;
  double bytes = 0;
};

/// One pass of one microbatch through a layer, or an end of the model.
struct LayerPass {
  Pass pass = Pass::forward;
  Time time;   ///< from the first act to the end of the last; some run beside each other
  Bytes kept;  ///< that it keeps for passes after it; below zero: that it lets go
  std::vector<PricedAct> acts;
};

/// Layers of one shape, or an end of the model.
struct LayerPasses {
  Activity end = Activity::none;       ///< embedding or head; none: layers
  std::vector<std::int64_t> layers{};  ///< of that shape
  bool has_experts = false;
  std::vector<LayerPass> passes{};  ///< those that the scenario's schedule has
  std::optional<Time> pair{};       ///< a forward beside a full backward, where the schedule has them
};

/// The embedding, each shape of layers in the order of the first, the head. Compute is that of a device as
/// fast as the fastest pipeline rank, experts' that of the busiest rank; sizes are exact.
std::vector<LayerPasses> layer_passes(Scenario scenario, const Order& order);

}  // namespace moesim
