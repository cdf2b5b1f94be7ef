// What computes and what communicates at the same time: how long the one takes and how fast the other is,
// together and alone.
#pragma once

#include <string>
#include <vector>

#include "bench.hpp"
#include "hold.hpp"
#include "team.hpp"

namespace measure {

/// One computation beside one communication.
struct Beside {
  Shape shape;
  std::string method;  ///< of the computation
  /// "memory": an own kernel copies within the memory of its device; "peer": to that of the next one; else
  /// the collective of NCCL.
  std::string communication;
  int communication_sms = 0;        ///< blocks of the communication's kernel; 0: as many as NCCL takes
  bool urgent = true;               ///< whether its stream goes before that of the computation
  std::size_t bytes = 0;            ///< NCCL: of a rank's whole buffer
  Timing timing;                    ///< of the computation beside the communication
  double alone_seconds = 0;         ///< of the computation alone
  double rate = 0, alone_rate = 0;  ///< own kernels: bytes a second that a device writes
  double round_seconds = 0, alone_round_seconds = 0;  ///< NCCL: of one collective
};

/// Beside an own kernel that copies within the memory of the bench's device.
std::vector<Beside> measure_contention(Bench& bench, bool quick);
/// Beside an own kernel that writes to another GPU, and beside NCCL's collectives, all GPUs of this process
/// doing the same. Nothing with one GPU.
std::vector<Beside> measure_contention_between(const Processes& processes, bool quick,
                                               std::vector<std::string>& notes);

/// Its part for own kernels: a bench and a holder for each GPU.
std::vector<Beside> measure_beside_peers(const std::vector<Bench*>& benches,
                                         const std::vector<Holder*>& holders, const Shape& shape, bool quick);

}  // namespace measure
