#include "sim/schedule/schedule.hpp"

#include <utility>

namespace moesim {

extern const Entry<Schedule> sequential_schedule;
extern const Entry<Schedule> gpipe_schedule;
extern const Entry<Schedule> one_f_one_b_schedule;
extern const Entry<Schedule> interleaved_schedule;
extern const Entry<Schedule> looped_bfs_schedule;
extern const Entry<Schedule> zb_h1_schedule;
extern const Entry<Schedule> zb_h2_schedule;
extern const Entry<Schedule> zb_interleaved_schedule;
extern const Entry<Schedule> zb_v_schedule;
extern const Entry<Schedule> v_half_schedule;
extern const Entry<Schedule> v_min_schedule;
extern const Entry<Schedule> zb_auto_schedule;
extern const Entry<Schedule> chimera_schedule;
extern const Entry<Schedule> dualpipe_schedule;
extern const Entry<Schedule> dualpipev_schedule;

namespace {

constinit const Entry<Schedule>* const members[] = {
    &sequential_schedule, &gpipe_schedule,    &one_f_one_b_schedule, &interleaved_schedule,
    &looped_bfs_schedule, &zb_h1_schedule,    &zb_h2_schedule,       &zb_interleaved_schedule,
    &zb_v_schedule,       &v_half_schedule,   &v_min_schedule,       &zb_auto_schedule,
    &chimera_schedule,    &dualpipe_schedule, &dualpipev_schedule};

std::vector<Place> down(std::int64_t ranks, std::int64_t chunk) {
  std::vector<Place> chain;
  for (std::int64_t r = 0; r < ranks; ++r)
    chain.push_back({static_cast<std::int32_t>(r), static_cast<std::int16_t>(chunk)});
  return chain;
}

std::vector<Place> up(std::int64_t ranks, std::int64_t chunk) {
  std::vector<Place> chain = down(ranks, chunk);
  return {chain.rbegin(), chain.rend()};
}

}  // namespace

Register<Schedule> schedules() { return members; }

Chains Schedule::chains(std::int64_t ranks) const { return straight_chains(ranks); }

Fit Schedule::fits(const PipelineShape&) const { return {}; }

Chains straight_chains(std::int64_t ranks, std::int64_t chunks) {
  std::vector<Place> chain;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::vector<Place> lap = down(ranks, chunk);
    chain.insert(chain.end(), lap.begin(), lap.end());
  }
  return {std::move(chain)};
}

Chains v_chains(std::int64_t ranks) {
  std::vector<Place> chain = down(ranks, 0);
  const std::vector<Place> back = up(ranks, 1);
  chain.insert(chain.end(), back.begin(), back.end());
  return {std::move(chain)};
}

Chains bidirectional_chains(std::int64_t ranks) { return {down(ranks, 0), up(ranks, 1)}; }

Order empty_order(const PipelineShape& shape, Chains chains) {
  Order order;
  const auto count = static_cast<std::int64_t>(chains.size());
  for (std::int64_t m = 0; m < shape.microbatches; ++m)
    order.chain_of_microbatch.push_back(static_cast<std::uint8_t>(m * count / shape.microbatches));
  order.chains = std::move(chains);
  order.ranks.resize(static_cast<std::size_t>(shape.ranks));
  return order;
}

}  // namespace moesim
