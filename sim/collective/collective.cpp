#include "sim/collective/collective.hpp"

#include <algorithm>

namespace moesim {

extern const Entry<Collective> pairwise_collective;
extern const Entry<Collective> hierarchical_collective;
extern const Entry<Collective> ring_collective;
extern const Entry<Collective> tree_collective;

namespace {

constinit const Entry<Collective>* const members[] = {&pairwise_collective, &hierarchical_collective,
                                                      &ring_collective, &tree_collective};

}  // namespace

double rows_between(const Request& request, std::size_t source, std::size_t rank, bool once) {
  if (request.rows.empty()) return once ? request.reached_rows_per_rank : request.rows_per_rank;
  const auto rows = static_cast<double>(request.rows[source * request.group.size() + rank]);
  if (!once) return rows;
  return std::min(request.tokens, rows * (request.reached_rows_per_rank / request.rows_per_rank));
}

Register<Collective> collectives() { return members; }

}  // namespace moesim
