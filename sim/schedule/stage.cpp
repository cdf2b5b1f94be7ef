#include "sim/schedule/stage.hpp"

#include <algorithm>

#include "models/base/error.hpp"

namespace moesim {

const std::vector<Place>& chain_of(const Order& order, const Slot& slot) {
  return order.chains[order.chain_of_microbatch[static_cast<std::size_t>(slot.microbatch)]];
}

std::size_t stage_of(const Order& order, std::int64_t rank, const Slot& slot) {
  const std::vector<Place>& chain = chain_of(order, slot);
  const auto here = std::find_if(chain.begin(), chain.end(), [&](const Place& place) {
    return place.rank == rank && place.chunk == slot.chunk;
  });
  ensure(here != chain.end(), "the rank holds the slot's chunk");
  return static_cast<std::size_t>(here - chain.begin());
}

}  // namespace moesim
