#include "sim/write/slices.hpp"

#include <algorithm>
#include <tuple>

namespace moesim {
namespace {

std::vector<Slice> without_lanes(const TaskGraph& graph, const Timeline& timeline) {
  std::vector<Slice> slices;
  slices.reserve(graph.size());
  for (TaskId task = 0; task < graph.size(); ++task) {
    const auto add = [&](ActorId actor, Stream stream) {
      slices.push_back({actor, stream, task, timeline.starts[task], timeline.ends[task]});
    };
    if (graph.kinds[task] == TaskKind::compute) add(graph.actors[task], Stream::compute);
    if (graph.kinds[task] != TaskKind::coflow) continue;
    const Stream stream = std::max(stream_of(graph.tags[task].activity), Stream::exchange);
    for (const ActorId actor : graph.members_of(graph.pattern_table[graph.patterns[task]]))
      add(actor, stream);
  }
  std::sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& b) {
    return std::tuple(a.actor, a.stream, a.start, a.end, a.task) <
           std::tuple(b.actor, b.stream, b.start, b.end, b.task);
  });
  return slices;
}

}  // namespace

std::vector<Slice> slices_of(const TaskGraph& graph, const Timeline& timeline) {
  std::vector<Slice> slices = without_lanes(graph, timeline);
  std::vector<Time> free_at;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    Slice& slice = slices[i];
    if (i == 0 || slices[i - 1].actor != slice.actor || slices[i - 1].stream != slice.stream) free_at.clear();
    const auto free =
        std::find_if(free_at.begin(), free_at.end(), [&](Time end) { return end <= slice.start; });
    slice.lane = static_cast<std::uint32_t>(free - free_at.begin());
    if (free == free_at.end()) free_at.emplace_back();
    free_at[slice.lane] = slice.end;
  }
  return slices;
}

}  // namespace moesim
