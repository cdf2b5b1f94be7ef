// Where a pass belongs in the model.
#pragma once

#include "sim/schedule/order.hpp"

namespace moesim {

/// The way of the slot's microbatch through the ranks.
const std::vector<Place>& chain_of(const Order& order, const Slot& slot);

/// The stage of the model that the slot's chunk on that rank holds, counted along its chain.
std::size_t stage_of(const Order& order, std::int64_t rank, const Slot& slot);

}  // namespace moesim
