// Messages between stages in the order in which the ranks of a schedule come to their sends and receives.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/schedule/order.hpp"
#include "sim/schedule/stage.hpp"

namespace moesim {

/// What one rank sends and another receives.
struct StageMessage {
  Need need;
  /// Slots of the receiver that stand before its receive.
  std::size_t received_behind = 0;
};

/// All messages between different ranks, each behind those that either of its ranks comes to before. Ranks go
/// through their slots by turns; a receive stands where its rank is when the message is sent
/// (torch/distributed/pipelining/schedules.py, _add_send_recv). Throws RunError where ranks wait for each
/// other.
std::vector<StageMessage> messages_in_turn(const Order& order);

}  // namespace moesim
