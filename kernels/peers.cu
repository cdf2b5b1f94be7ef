#include "peers.hpp"

#include "late.hpp"

namespace measure {

PeerTimes measure_peers(const Processes& processes, bool quick) {
  PeerTimes times;
  int devices = 0;
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  const bool several = processes.count() > 1;
  if (processes.nodes() < 2) times.notes.push_back("links between nodes: not measured, there is one node");
  if (devices < 2 && !several) {
    times.notes.push_back("links between GPUs and collectives: not measured, there is one GPU");
    return times;
  }
  if (devices > 1 && processes.rank_in_node() >= devices)
    throw DeviceError("of the processes on a node there are more than its " + std::to_string(devices) +
                      " GPUs");
  const Team team(processes, std::size_t{quick ? 64u : 1024u} << 20);
  if (several) {
    times.notes.push_back("own dispatch and combine: not measured, they need all GPUs in one process");
  } else {
    measure_links(team, times);
    measure_exchange(team, times, quick);
  }
  if (const std::string why = why_no_nccl(); why.empty())
    measure_nccl(team, times, quick);
  else
    times.notes.push_back("collectives of NCCL: not measured, there is no NCCL (" + why + ")");
  return times;
}

}  // namespace measure
