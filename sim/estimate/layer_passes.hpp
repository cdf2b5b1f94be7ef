// The programs of a scenario's layers with what each act takes: what `moesim schedule --layer` prints.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sim/estimate/price.hpp"
#include "sim/estimate/priced_ops.hpp"
#include "sim/layer/program.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// An act on one rank, with nothing beside it: a row of what `moesim schedule --layer` lists. Acts are
/// counted from 0 in their pass.
struct PricedAct {
  Act act;
  std::vector<std::size_t> waits_for{};  ///< acts before it; what else its stream has before it aside
  std::int64_t group_size = 0;           ///< of a call
  Time time{};
  Time again{};      ///< of it: what a backward does once more of its forward
  double bytes = 0;  ///< that the rank sends in a call, of parameters needed, of gradients produced
  Flops flops{};     ///< of compute
  Bytes moved{};     ///< of compute: in device memory, by the kernels of the software
  Bytes kept{};      ///< that it keeps for later passes; below zero: that it lets go
  std::vector<PricedOp> ops{};  ///< of compute
  bool is_forward_again() const { return again.count > 0 && again == time; }
  /// On a lane of its own: communication while the pass goes on computing, or shared experts while it
  /// communicates.
  bool is_beside() const {
    return (act.kind == ActKind::call || act.piece == shared_experts_piece) && act.lane != main_lane;
  }
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
  /// Of the head: its matrix is the embedding's, or, on a rank without one, a copy of it.
  enum class Matrix : std::uint8_t { own, of_embedding, copy_of_embedding } matrix = Matrix::own;
  std::vector<LayerPass> passes{};  ///< those that the scenario's schedule has
  std::optional<Time> pair{};       ///< a forward beside a full backward, where the schedule has them
};

/// The embedding, each shape of layers in the order of the first, the head. Compute is that of a device as
/// fast as the fastest pipeline rank, experts' that of the busiest rank; sizes are exact.
std::vector<LayerPasses> layer_passes(Scenario scenario, const Order& order);

}  // namespace moesim
