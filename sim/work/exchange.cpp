#include "sim/work/exchange.hpp"

#include <algorithm>

#include "sim/work/share.hpp"

namespace moesim {

double reach_of(const Scenario& scenario, const Experts& experts, std::int64_t blocks) {
  Router router = scenario.router;
  if (scenario.placement == Placement::by_topic) router.coactivation->order = TopicOrder::together;
  return router.reach(gate_of(experts), blocks);
}

double Reaches::of(const Experts& experts, std::int64_t blocks) {
  for (const Known& known : known_) {
    if (known.blocks == blocks && known.experts == experts) return known.reach;
  }
  const double reach = reach_of(scenario_, experts, blocks);
  known_.push_back({experts, blocks, reach});
  return reach;
}

Leg leg_of(Activity exchange, const Collective& collective) {
  if (!is_outward(exchange)) return Leg::home;
  return exchange == Activity::dispatch || !collective.counts_rows() ? Leg::out : Leg::again;
}

std::vector<Request> exchange_requests(const Scenario& scenario, const Experts& experts, Leg leg,
                                       const ExchangedRows& sent,
                                       std::span<const std::vector<DeviceId>> groups, Reaches& reaches,
                                       const RankReach* reach) {
  const Precision precision = leg == Leg::home ? scenario.precision.combine : scenario.precision.dispatch;
  const double whole =
      sent.rows / static_cast<double>(experts.top_k);  // tokens none of whose rows is dropped
  const auto reached = [&](std::int64_t blocks) {
    const double each = sent.rows / static_cast<double>(blocks);
    if (sent.padded) return each;
    return std::min(each, whole * reaches.of(experts, blocks) / static_cast<double>(blocks));
  };
  const bool is_limited = reach != nullptr && !scenario.router.routing->is_free();
  const auto limited = [&](std::int64_t blocks) {
    return reaches.of(experts, blocks) / even_reach(experts.count, experts.top_k, blocks);
  };
  std::vector<Request> requests;
  for (const std::vector<DeviceId>& group : groups) {
    const auto ranks = static_cast<std::int64_t>(group.size());
    const std::int64_t nodes =
        nodes_of(group, scenario.fabric());  // groups may lie on unequal numbers of them
    const std::int64_t blocks = ranks % nodes == 0 ? nodes : ranks;
    requests.push_back({.operation = Operation::all_to_all,
                        .group = group,
                        .bytes = row_bytes(scenario.model.hidden, precision),
                        .rows_per_rank = sent.rows / static_cast<double>(ranks),
                        .reached_rows_per_rank = reached(ranks),
                        .reached_rows_per_node = reached(blocks),
                        .reach = reach,
                        .limited_to_ranks = is_limited ? limited(ranks) : 1,
                        .limited_to_nodes = is_limited ? limited(blocks) : 1,
                        .tokens = sent.tokens,
                        .leg = leg,
                        .multiprocessors = scenario.collectives.communication_sms});
  }
  return requests;
}

}  // namespace moesim
