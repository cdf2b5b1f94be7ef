#include "sim/collective/collective.hpp"

#include <algorithm>

#include "models/routing/reach.hpp"

namespace moesim {

extern const Entry<Collective> pairwise_collective;
extern const Entry<Collective> hierarchical_collective;
extern const Entry<Collective> ring_collective;
extern const Entry<Collective> tree_collective;
extern const Entry<Collective> nccl_collective;
extern const Entry<Collective> dimension_ring_collective;
extern const Entry<Collective> deepep_collective;
extern const Entry<Collective> hybrid_ep_collective;

namespace {

constinit const Entry<Collective>* const members[] = {
    &pairwise_collective,       &hierarchical_collective, &ring_collective,   &tree_collective,
    &dimension_ring_collective, &nccl_collective,         &deepep_collective, &hybrid_ep_collective};

}  // namespace

double rows_between(const Request& request, std::size_t source, std::size_t rank, bool once) {
  if (request.rows.empty()) return once ? request.reached_rows_per_rank : request.rows_per_rank;
  const auto rows = static_cast<double>(request.rows[source * request.group.size() + rank]);
  if (!once) return rows;
  if (request.reach == nullptr)
    return std::min(request.tokens, rows * (request.reached_rows_per_rank / request.rows_per_rank));
  return std::min(rows, rows_to(request, {&rank, 1}, request.limited_to_ranks));
}

double rows_to(const Request& request, std::span<const std::size_t> ranks, double limited) {
  return request.tokens * std::min(1.0, limited * request.reach->of(ranks));
}

std::vector<Flow> all_flows(const Traffic& traffic) {
  std::vector<Flow> flows = traffic.flows;
  for (const Exchange& exchange : traffic.exchanges) {
    for (const DeviceId from : exchange.group) {
      for (const DeviceId to : exchange.group) {
        if (from != to) flows.push_back({from, to, exchange.bytes});
      }
    }
  }
  return flows;
}

Register<Collective> collectives() { return members; }

}  // namespace moesim
