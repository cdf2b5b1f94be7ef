// What needs two or more GPUs: bandwidth and latency between each pair, NCCL's collectives, dispatch and
// combine of our own over peer memory.
#pragma once

#include <string>
#include <vector>

#include "device.hpp"

namespace measure {

/// Between two devices.
struct Link {
  int from = 0, to = 0;
  bool direct = false;  ///< peer memory can be mapped
  double bytes_per_second = 0, latency = 0;
};

/// One collective at one size.
struct CollectiveTime {
  std::string collective;
  int ranks = 0;
  std::size_t bytes = 0;  ///< of one rank's buffer
  double seconds = 0;
};

struct PeerTimes {
  std::vector<Link> links;
  std::vector<CollectiveTime> collectives;
  std::vector<std::string> notes;  ///< what was skipped, and why
};

PeerTimes measure_peers(bool quick);

}  // namespace measure
