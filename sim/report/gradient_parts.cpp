#include "sim/report/gradient_parts.hpp"

#include <cmath>

#include "models/base/at.hpp"

namespace moesim {
namespace {

/// Bytes and device times of the gradients of one pipeline rank, those of experts apart.
struct RankGradients {
  std::array<double, 2> bytes{}, time{};
  double embedding_bytes = 0, embedding_time = 0;  ///< between its copies
};

/// The share of a part in the gradients that go together with it.
double share_of_part(const Holdings& held, std::size_t part) {
  if (part == static_cast<std::size_t>(HeldPart::experts)) return 1;
  return held.replicated() == 0
             ? 0
             : static_cast<double>(held.parts[part]) / static_cast<double>(held.replicated());
}

double devices_of(const TaskGraph& graph, std::span<const ActorId> actors) {
  double devices = 0;
  for (const ActorId actor : actors) devices += graph.devices_of(actor);
  return devices;
}

std::vector<RankGradients> gradients_of_ranks(const Scenario& scenario, const TaskGraph& graph,
                                              const Timeline& timeline) {
  const std::size_t ranks = static_cast<std::size_t>(scenario.layout.sizes().pipeline);
  const bool has_copies = embedding_ranks(scenario).has_value();  // no two ranks share others then
  std::vector<RankGradients> sums(ranks);
  const std::size_t positions = graph.actor_count / ranks;  // actors of one pipeline rank lie together
  for (TaskId task = 0; task < graph.size(); ++task) {
    const Tag& tag = graph.tags[task];
    if (graph.kinds[task] != TaskKind::coflow || tag.activity != Activity::gradient) continue;
    const Pattern& pattern = graph.pattern_table[graph.patterns[task]];
    const std::span<const ActorId> members = graph.members_of(pattern);
    RankGradients& sum = sums[members.front() / positions];
    const std::size_t experts = tag.experts ? 1 : 0;
    const auto bytes = static_cast<double>(pattern.bytes_sent);
    const double time =
        static_cast<double>((timeline.ends[task] - timeline.starts[task]).count) * devices_of(graph, members);
    const bool is_between_copies = has_copies && members.front() / positions != members.back() / positions;
    (is_between_copies ? sum.embedding_bytes : sum.bytes[experts]) += bytes;
    (is_between_copies ? sum.embedding_time : sum.time[experts]) += time;
  }
  return sums;
}

}  // namespace

void add_gradient_parts(const Scenario& scenario, const TaskGraph& graph, const Timeline& timeline,
                        Report& report) {
  const std::size_t ranks = static_cast<std::size_t>(scenario.layout.sizes().pipeline);
  const std::vector<RankGradients> sums = gradients_of_ranks(scenario, graph, timeline);
  std::array<double, held_part_count> bytes{};
  std::array<double, held_part_count> time{};
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const Holdings held = holdings(scenario, static_cast<std::int64_t>(rank));
    for (std::size_t part = 0; part < held_part_count; ++part) {
      const std::size_t experts = part == static_cast<std::size_t>(HeldPart::experts) ? 1 : 0;
      const double share = share_of_part(held, part);
      bytes[part] += share * sums[rank].bytes[experts];
      time[part] += share * sums[rank].time[experts];
    }
    at(bytes, HeldPart::embedding) += sums[rank].embedding_bytes;
    at(time, HeldPart::embedding) += sums[rank].embedding_time;
  }
  double devices = 0;
  for (ActorId actor = 0; actor < graph.actor_count; ++actor) devices += graph.devices_of(actor);
  for (std::size_t part = 0; part < held_part_count; ++part) {
    report.gradient_parts[part] = {.bytes = from_bytes(bytes[part]).count,
                                   .busy = Time{std::llround(time[part] / devices)}};
  }
}

}  // namespace moesim
