#include "sim/schedule/schedule.hpp"

namespace moesim {

extern const Entry<Schedule> sequential_schedule;
extern const Entry<Schedule> gpipe_schedule;
extern const Entry<Schedule> one_f_one_b_schedule;
extern const Entry<Schedule> interleaved_schedule;
extern const Entry<Schedule> zb_h1_schedule;
extern const Entry<Schedule> zb_h2_schedule;
extern const Entry<Schedule> zb_v_schedule;
extern const Entry<Schedule> zb_auto_schedule;
extern const Entry<Schedule> chimera_schedule;
extern const Entry<Schedule> dualpipe_schedule;
extern const Entry<Schedule> dualpipev_schedule;

namespace {

constinit const Entry<Schedule>* const members[] = {
    &sequential_schedule, &gpipe_schedule,    &one_f_one_b_schedule, &interleaved_schedule,
    &zb_h1_schedule,      &zb_h2_schedule,    &zb_v_schedule,        &zb_auto_schedule,
    &chimera_schedule,    &dualpipe_schedule, &dualpipev_schedule};

Order empty_order(const PipelineShape& shape) {
  Order order;
  order.chain_of_microbatch.assign(static_cast<std::size_t>(shape.microbatches), 0);
  order.ranks.resize(static_cast<std::size_t>(shape.ranks));
  return order;
}

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

Order straight_pipeline(const PipelineShape& shape, std::int64_t chunks) {
  Order order = empty_order(shape);
  order.chains.emplace_back();
  for (std::int64_t c = 0; c < chunks; ++c) {
    const std::vector<Place> lap = down(shape.ranks, c);
    order.chains[0].insert(order.chains[0].end(), lap.begin(), lap.end());
  }
  return order;
}

Order v_pipeline(const PipelineShape& shape) {
  Order order = empty_order(shape);
  order.chains = {down(shape.ranks, 0)};
  const std::vector<Place> back = up(shape.ranks, 1);
  order.chains[0].insert(order.chains[0].end(), back.begin(), back.end());
  return order;
}

Order bidirectional_pipeline(const PipelineShape& shape) {
  Order order = empty_order(shape);
  order.chains = {down(shape.ranks, 0), up(shape.ranks, 1)};
  for (std::size_t m = order.chain_of_microbatch.size() / 2; m < order.chain_of_microbatch.size(); ++m) {
    order.chain_of_microbatch[m] = 1;
  }
  return order;
}

}  // namespace moesim
