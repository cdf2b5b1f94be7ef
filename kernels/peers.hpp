// What needs two or more GPUs: bandwidth and latency between each pair, NCCL's collectives, dispatch and
// combine of our own over peer memory. Under MPI the GPUs may be on several nodes.
#pragma once

#include <string>
#include <vector>

#include "team.hpp"

namespace measure {

/// Between two GPUs, one way.
struct Link {
  int from = 0, to = 0;  ///< ranks
  bool same_node = true;
  std::string way;  ///< "peer": one maps the other's memory; "host": copies through the host; "nccl"
  double bytes_per_second = 0, both_ways = 0;  ///< the second of each direction while both are used
  double latency = 0;                          ///< seconds of the smallest message, one way
};

/// One collective at one size.
struct CollectiveTime {
  std::string collective, library;
  int ranks = 0, nodes = 1;
  std::size_t bytes = 0;  ///< of one rank's whole buffer; of an own exchange, of the rows that a rank sends;
                          ///< of point_to_point, the message
  double seconds = 0;
  bool held_out = false;  ///< judges what is made of the others
  bool nvls = false;      ///< NCCL was free to reduce in NVSwitch (NVLink multicast)
};

struct PeerTimes {
  std::vector<Link> links;
  std::vector<CollectiveTime> collectives;
  std::vector<std::string> notes;  ///< what was skipped, and why
};

/// Everything above, or a note for what cannot be had.
PeerTimes measure_peers(const Processes& processes, bool quick);

/// Its parts. The last two are there with NCCL alone.
void measure_links(const Team& team, PeerTimes& times);
void measure_exchange(const Team& team, PeerTimes& times, bool quick);
void measure_nccl(const Team& team, PeerTimes& times, bool quick);
long nccl_version();  ///< 0 without it

}  // namespace measure
