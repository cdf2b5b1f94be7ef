// Pipelines whose sends block. At the boundary between two passes a rank hands over, as one batch, what the
// pass before has made and what it has decided to receive there, and goes on when all of the batch is
// through; a message is through when both sides have come to it. (Torch's batch_isend_irecv; Megatron-LM and
// DualPipe commit their sends and receives in such batches.) How long passes take makes no difference to
// whether such a pipeline ends: only the places of the receives do.
#pragma once

#include "sim/schedule/order.hpp"
#include "sim/schedule/replay.hpp"

namespace moesim::testing {

/// Where a rank receives what a pass needs.
enum class Receives {
  just_in_time,  ///< at the boundary before the pass
  when_sent,     ///< at the first boundary that the replay reaches once the message exists
};

/// Whether every rank comes to its end. `times` is any replay of the order.
bool ends_with_blocking_sends(const Order& order, const Replay& times, Receives receives);

}  // namespace moesim::testing
