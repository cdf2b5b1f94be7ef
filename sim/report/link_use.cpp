#include "sim/report/link_use.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/at.hpp"

namespace moesim {
namespace {

/// Which row a link is in, and what a row can carry.
struct Blocks {
  std::vector<LinkRow> rows;
  std::vector<double> capacity;        // of rows, bytes a picosecond
  std::vector<std::size_t> of_link{};  // row
};

/// The node that a link begins or ends at; where none has it, its number among those of its class.
struct Place {
  std::uint32_t number;
  bool is_node;
};
Place place_of(const Fabric& fabric, const Link& link, std::uint32_t number) {
  for (const std::uint32_t vertex : {link.from, link.to}) {
    const std::uint32_t node = fabric.vertices()[vertex].node;
    if (node != no_node) return {node, true};
  }
  return {number, false};
}

std::string name_of(bool are_nodes, std::size_t first, std::size_t last) {
  const char* what = are_nodes ? "node" : "link";
  return first == last ? fmt::format("{} {}", what, first) : fmt::format("{}s {} to {}", what, first, last);
}

/// Rows of one class, behind those that there are.
void add_class(const Fabric& fabric, LinkClass of, std::size_t most_rows, Blocks& blocks) {
  std::vector<Place> places;
  std::vector<LinkId> ids;
  for (LinkId id = 0; id < fabric.links().size(); ++id) {
    if (fabric.link(id).link_class != of) continue;
    places.push_back(place_of(fabric, fabric.link(id), static_cast<std::uint32_t>(ids.size())));
    ids.push_back(id);
  }
  if (ids.empty()) return;
  const bool are_nodes = std::all_of(places.begin(), places.end(), [](const Place& p) { return p.is_node; });
  std::size_t count = ids.size();
  if (are_nodes)
    count = 1 + std::max_element(places.begin(), places.end(), [](const Place& a, const Place& b) {
                  return a.number < b.number;
                })->number;
  const std::size_t block = (count + most_rows - 1) / most_rows;
  const std::size_t first_row = blocks.rows.size();
  for (std::size_t first = 0; first < count; first += block) {
    blocks.rows.push_back({of, name_of(are_nodes, first, std::min(first + block, count) - 1), {}});
    blocks.capacity.push_back(0);
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::size_t row = first_row + (are_nodes ? places[i].number : i) / block;
    blocks.of_link[ids[i]] = row;
    blocks.capacity[row] += fabric.link(ids[i]).rate.count * 1e-12;
  }
}

/// Bytes that a pattern puts on a row.
struct RowBytes {
  std::size_t row;
  double bytes;
};

std::vector<std::vector<RowBytes>> bytes_of_patterns(const TaskGraph& graph, const Blocks& blocks) {
  std::vector<std::vector<RowBytes>> all;
  std::vector<double> sums(blocks.rows.size());
  for (const Pattern& pattern : graph.pattern_table) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (const LinkLoad& load : graph.link_loads_of(pattern)) sums[blocks.of_link[load.link]] += load.carried;
    std::vector<RowBytes>& rows = all.emplace_back();
    for (std::size_t row = 0; row < sums.size(); ++row) {
      if (sums[row] > 0) rows.push_back({row, sums[row]});
    }
  }
  return all;
}

/// Calls `add` with each span that a time touches, and how much of the time lies in it.
void share_out(const BytesUnderWay& time, double span, std::size_t spans, auto add) {
  const auto start = static_cast<double>(time.start.count), end = static_cast<double>(time.end.count);
  const auto first = std::min(static_cast<std::size_t>(start / span), spans - 1);
  for (std::size_t i = first; i < spans; ++i) {
    const double from = std::max(start, static_cast<double>(i) * span);
    const double to = i + 1 == spans ? end : std::min(end, static_cast<double>(i + 1) * span);
    if (to > from) add(i, (to - from) / (end - start));
    if (to >= end) return;
  }
}

}  // namespace

BytesUnderWay bytes_under_way(const TaskGraph& graph, const Timeline& timeline, TaskId coflow) {
  const Time end = timeline.ends[coflow];
  const Time first_byte = timeline.starts[coflow] + graph.pattern_table[graph.patterns[coflow]].latency;
  return {first_byte < end ? first_byte : timeline.starts[coflow], end};
}

std::vector<LinkRow> link_use(const Scenario& scenario, const TaskGraph& graph, const Timeline& timeline,
                              std::size_t spans, std::size_t most_rows) {
  if (!scenario.cluster) return {};
  const Fabric& fabric = scenario.fabric();
  Blocks blocks;
  blocks.of_link.resize(fabric.links().size());
  for (std::size_t c = 0; c < link_class_count; ++c)
    add_class(fabric, static_cast<LinkClass>(c), most_rows, blocks);
  const double span = static_cast<double>(timeline.makespan().count) / static_cast<double>(spans);
  for (LinkRow& row : blocks.rows) row.use.resize(spans);
  const std::vector<std::vector<RowBytes>> bytes = bytes_of_patterns(graph, blocks);
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] != TaskKind::coflow || bytes[graph.patterns[task]].empty()) continue;
    const BytesUnderWay time = bytes_under_way(graph, timeline, task);
    if (time.start == time.end) continue;
    share_out(time, span, spans, [&](std::size_t i, double share) {
      for (const RowBytes& row : bytes[graph.patterns[task]])
        blocks.rows[row.row].use[i] += share * row.bytes / (blocks.capacity[row.row] * span);
    });
  }
  return std::move(blocks.rows);
}

}  // namespace moesim
