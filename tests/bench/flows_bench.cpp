// How far a coflow is from single flows: prints the tables of docs/model.md, "Sharing". Judges nothing.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "tests/support/graphs.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

enum class Skew : std::uint8_t { even, random, hot };
constexpr std::array<std::string_view, 3> skew_names{"even", "random", "hot"};

/// An all-to-all among ranks that each have a link out and a link in, both of 50 GB/s, on one switch.
struct Exchange {
  std::uint32_t ranks = 8;
  double bytes = 1e6;  // that a rank sends, mean
  Skew skew = Skew::even;
  Time jitter;              // ranks come to it at times drawn evenly from zero to this
  bool has_beside = false;  // while each rank sends as much to its neighbour
};

double bytes_of(const Exchange& exchange, std::uint32_t from, std::uint32_t to) {
  const double mean = exchange.bytes / (exchange.ranks - 1);
  if (exchange.skew == Skew::even) return mean;
  if (exchange.skew == Skew::hot) return to == 0 ? 2 * mean : mean;  // one rank gets twice what others get
  return mean * 2 * Random(1).stream("bytes", from, to).uniform();
}

/// When the exchange has ended on all ranks; a flow begins when both of its ranks have come to it, a coflow
/// when all have.
Time end_of(const Exchange& exchange, bool is_coflow) {
  GraphBuilder builder(exchange.ranks);
  std::vector<TaskId> arrivals;
  for (ActorId rank = 0; rank < exchange.ranks; ++rank) {
    const double share = Random(1).stream("start", rank).uniform();
    const Time start{static_cast<std::int64_t>(share * static_cast<double>(exchange.jitter.count))};
    arrivals.push_back(builder.add_compute(rank, start, 1, {}));
  }
  const auto route = [](std::uint32_t from, std::uint32_t to, double bytes) {
    return std::vector<LinkLoad>{{2 * from, bytes}, {2 * to + 1, bytes}};
  };
  std::vector<LinkLoad> all;
  std::vector<TaskId> flows;
  double sum = 0;
  for (std::uint32_t from = 0; from < exchange.ranks; ++from) {
    for (std::uint32_t to = 0; to < exchange.ranks; ++to) {
      if (from == to) continue;
      const double bytes = bytes_of(exchange, from, to);
      sum += bytes;
      for (const LinkLoad& load : route(from, to, bytes)) all.push_back(load);
      if (is_coflow) continue;
      const PatternId pattern =
          builder.add_pattern({.latency = 10_us, .flow_bytes = bytes}, route(from, to, bytes), {});
      flows.push_back(builder.add_coflow(pattern, {}));
      builder.add_edge(arrivals[from], flows.back());
      builder.add_edge(arrivals[to], flows.back());
    }
  }
  if (is_coflow) {
    const double pairs = exchange.ranks * (exchange.ranks - 1.0);
    const PatternId pattern = builder.add_pattern({.latency = 10_us, .flow_bytes = sum / pairs}, all, {});
    flows.push_back(builder.add_coflow(pattern, {}));
    for (const TaskId arrival : arrivals) builder.add_edge(arrival, flows.back());
  }
  for (std::uint32_t rank = 0; exchange.has_beside && rank < exchange.ranks; ++rank) {
    const std::vector<LinkLoad> loads = route(rank, (rank + 1) % exchange.ranks, exchange.bytes);
    builder.add_coflow(builder.add_pattern({.flow_bytes = exchange.bytes}, loads, {}), {});
  }
  const Timeline timeline =
      testing::run("fluid", std::move(builder).finish(std::vector<Rate>(2 * exchange.ranks, 50_GBps)));
  Time end;
  for (const TaskId flow : flows) end = std::max(end, timeline.ends[flow]);
  return end;
}

void print_table(bool has_beside) {
  constexpr std::array jitters{Time{}, 20_us, 100_us};
  fmt::print("| ranks | a rank sends |");
  for (const std::string_view skew : skew_names) {
    for (const Time jitter : jitters) fmt::print(" {}, {} us |", skew, jitter.count / 1'000'000);
  }
  fmt::print("\n| --- | --- |");
  for (std::size_t i = 0; i < skew_names.size() * jitters.size(); ++i) fmt::print(" --- |");
  for (const std::uint32_t ranks : {8u, 32u}) {
    for (const double megabytes : {0.25, 4.0, 64.0}) {
      fmt::print("\n| {} | {} MB |", ranks, megabytes);
      for (const Skew skew : {Skew::even, Skew::random, Skew::hot}) {
        for (const Time jitter : jitters) {
          const Exchange exchange{ranks, megabytes * 1e6, skew, jitter, has_beside};
          const double coflow = static_cast<double>(end_of(exchange, true).count);
          const double flows = static_cast<double>(end_of(exchange, false).count);
          fmt::print(" {:+.1f} % |", 100 * (coflow / flows - 1));
        }
      }
    }
  }
  fmt::print("\n");
}

}  // namespace

int main() {
  fmt::print("How much longer a coflow takes than single flows, alone on its links:\n\n");
  print_table(false);
  fmt::print("\nThe same while each rank sends as much to its neighbour:\n\n");
  print_table(true);
}
