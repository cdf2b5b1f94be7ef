#include "sim/write/page_timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "models/base/grouped.hpp"
#include "models/config/values.hpp"
#include "sim/graph/causes.hpp"
#include "sim/write/packed.hpp"
#include "sim/write/slices.hpp"

namespace moesim {
namespace {

/// A slice as it is drawn: a task, or all blocks of a pass that a lane has one after the other.
struct Drawn {
  Slice slice;
  bool is_merged = false;
};

bool are_of_one_pass(const TaskGraph& graph, const Slice& a, const Slice& b) {
  const Tag &x = graph.tags[a.task], &y = graph.tags[b.task];
  return a.actor == b.actor && a.stream == b.stream && a.lane == b.lane && x.pass != PassKind::none &&
         std::tuple(x.pass, x.microbatch, x.chunk) == std::tuple(y.pass, y.microbatch, y.chunk);
}

/// By actor, stream, lane and start, so that what a lane does stands together.
std::vector<Slice> by_lane(std::vector<Slice> slices) {
  std::stable_sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& b) {
    return std::tuple(a.actor, a.stream, a.lane) < std::tuple(b.actor, b.stream, b.lane);
  });
  return slices;
}

std::vector<Drawn> merged(const TaskGraph& graph, const std::vector<Slice>& slices) {
  std::vector<Drawn> drawn;
  for (const Slice& slice : slices) {
    if (!drawn.empty() && are_of_one_pass(graph, drawn.back().slice, slice)) {
      drawn.back().slice.end = std::max(drawn.back().slice.end, slice.end);
      drawn.back().is_merged = true;
    } else {
      drawn.push_back({slice, false});
    }
  }
  return drawn;
}

/// Of each pipeline rank the actor that decides most of the step, in the order of ranks; then the next of
/// each, and so on.
std::vector<std::size_t> by_weight(const PageActors& actors, const TaskGraph& graph,
                                   const std::vector<CriticalStep>& path) {
  std::vector<Time> weights(actors.names.size());
  for (const CriticalStep& step : path) {
    if (graph.kinds[step.task] == TaskKind::compute) weights[graph.actors[step.task]] += step.share;
  }
  std::vector<std::size_t> order(weights.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto stride = static_cast<std::ptrdiff_t>(actors.positions);
  for (auto rank = order.begin(); rank != order.end(); rank += stride)
    std::stable_sort(rank, rank + stride,
                     [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
  std::vector<std::size_t> in_rounds;
  for (std::size_t position = 0; position < actors.positions; ++position) {
    for (std::size_t i = position; i < order.size(); i += actors.positions) in_rounds.push_back(order[i]);
  }
  return in_rounds;
}

/// Leaves actors as long as there is room, at least one.
std::string drop_actors(const std::vector<std::size_t>& in_order, std::size_t most,
                        std::vector<Drawn>& drawn) {
  std::vector<std::size_t> counts(in_order.size());
  for (const Drawn& one : drawn) ++counts[one.slice.actor];
  std::vector<bool> is_kept(counts.size(), false);
  std::size_t sum = 0, kept = 0;
  for (const std::size_t actor : in_order) {
    if (kept > 0 && sum + counts[actor] > most) continue;
    sum += counts[actor];
    is_kept[actor] = true;
    ++kept;
  }
  drawn.erase(
      std::remove_if(drawn.begin(), drawn.end(), [&](const Drawn& one) { return !is_kept[one.slice.actor]; }),
      drawn.end());
  return fmt::format("; {} of {} timelines are shown", kept, counts.size());
}

/// Keeps what starts first.
std::string drop_end(std::size_t most, std::vector<Drawn>& drawn) {
  std::vector<Time> starts;
  for (const Drawn& one : drawn) starts.push_back(one.slice.start);
  std::nth_element(starts.begin(), starts.begin() + static_cast<std::ptrdiff_t>(most), starts.end());
  const Time end = starts[most];
  drawn.erase(
      std::remove_if(drawn.begin(), drawn.end(), [&](const Drawn& one) { return one.slice.start >= end; }),
      drawn.end());
  return fmt::format("; what starts after {} is not shown", print(end));
}

struct Shown {
  std::vector<Drawn> drawn;
  std::string left_out;  ///< in words; empty: nothing
};

Shown shown_of(const PageActors& actors, const TaskGraph& graph, const std::vector<CriticalStep>& path,
               const std::vector<Slice>& slices, std::size_t most) {
  Shown shown;
  if (slices.size() <= most) {
    for (const Slice& slice : slices) shown.drawn.push_back({slice, false});
  } else {
    shown.drawn = merged(graph, slices);
    shown.left_out = fmt::format("the blocks of a pass are drawn as one: all are {} tasks",
                                 grouped(static_cast<double>(slices.size())));
    if (shown.drawn.size() > most)
      shown.left_out += drop_actors(by_weight(actors, graph, path), most, shown.drawn);
    if (shown.drawn.size() > most) shown.left_out += drop_end(most, shown.drawn);
  }
  std::sort(shown.drawn.begin(), shown.drawn.end(), [](const Drawn& a, const Drawn& b) {
    return std::tuple(a.slice.actor, a.slice.start, a.slice.stream, a.slice.lane, a.slice.end) <
           std::tuple(b.slice.actor, b.slice.start, b.slice.stream, b.slice.lane, b.slice.end);
  });
  return shown;
}

/// Finds the drawn slice of a task, on a given actor where it is on that one too.
class Places {
 public:
  Places(const TaskGraph& graph, const std::vector<Slice>& slices, const std::vector<Drawn>& drawn) {
    std::map<std::tuple<ActorId, Stream, std::uint32_t>, std::vector<std::uint32_t>> lanes;
    for (std::uint32_t i = 0; i < drawn.size(); ++i) {
      const Slice& slice = drawn[i].slice;
      lanes[{slice.actor, slice.stream, slice.lane}].push_back(i);
    }
    first_of_task_.resize(graph.size() + 1);
    for (const Slice& slice : slices) ++first_of_task_[slice.task + 1];
    for (std::size_t i = 1; i < first_of_task_.size(); ++i) first_of_task_[i] += first_of_task_[i - 1];
    numbers_.resize(slices.size(), nothing);
    std::vector<std::uint32_t> next(first_of_task_.begin(), first_of_task_.end() - 1);
    for (const Slice& slice : slices) {
      const auto lane = lanes.find({slice.actor, slice.stream, slice.lane});
      if (lane == lanes.end()) continue;
      const auto after =
          std::upper_bound(lane->second.begin(), lane->second.end(), slice.start,
                           [&](Time start, std::uint32_t i) { return start < drawn[i].slice.start; });
      if (after == lane->second.begin() || slice.end > drawn[*(after - 1)].slice.end) continue;
      numbers_[next[slice.task]++] = *(after - 1);
    }
  }

  std::uint32_t of(TaskId task, ActorId actor, const std::vector<Drawn>& drawn) const {
    std::uint32_t found = nothing;
    for (std::uint32_t i = first_of_task_[task]; i < first_of_task_[task + 1]; ++i) {
      if (numbers_[i] == nothing) continue;
      if (found == nothing || drawn[numbers_[i]].slice.actor == actor) found = numbers_[i];
    }
    return found;
  }

 private:
  std::vector<std::uint32_t> first_of_task_;  // into numbers_
  std::vector<std::uint32_t> numbers_;        // of drawn slices
};

/// What slices have in common.
using Kind = std::tuple<Activity, PassKind, std::int8_t, Stream, std::uint32_t, bool>;

Kind kind_of(const TaskGraph& graph, const Drawn& drawn) {
  const Tag& tag = graph.tags[drawn.slice.task];
  return {drawn.is_merged ? Activity::none : tag.activity,
          tag.pass,
          tag.chunk,
          drawn.slice.stream,
          drawn.slice.lane,
          tag.overlapped};
}

Value value_of_kind(const Kind& kind) {
  const auto& [activity, pass, chunk, stream, lane, overlapped] = kind;
  Value row = empty_list();
  row.items = {value_of(activity == Activity::none ? "" : name_of(activity)),
               value_of(at(pass_names, pass)),
               value_of(static_cast<int>(chunk)),
               value_of(static_cast<int>(stream)),
               value_of(lane),
               value_of(overlapped)};
  return row;
}

/// Writes slices one after the other.
class SliceWriter {
 public:
  SliceWriter(const TaskGraph& graph, const Timeline& timeline, const std::vector<CriticalStep>& path,
              Time tick)
      : graph_(graph),
        befores_(last_before(graph, timeline)),
        is_critical_(graph.size(), false),
        tick_(tick) {
    for (const CriticalStep& step : path) is_critical_[step.task] = true;
  }

  void write(const std::vector<Slice>& slices, const std::vector<Drawn>& drawn) {
    const Places places(graph_, slices, drawn);
    std::vector<bool> is_critical(drawn.size(), false);
    for (const Slice& slice : slices) {
      if (!is_critical_[slice.task]) continue;
      const std::uint32_t place = places.of(slice.task, slice.actor, drawn);
      if (place != nothing) is_critical[place] = true;
    }
    for (std::uint32_t i = 0; i < drawn.size(); ++i) write(i, drawn, is_critical[i], places);
  }

  Value kinds() const {
    std::vector<const Kind*> in_order(numbers_.size());
    for (const auto& [kind, number] : numbers_) in_order[number] = &kind;
    Value rows = empty_list();
    for (const Kind* kind : in_order) rows.items.push_back(value_of_kind(*kind));
    return rows;
  }
  std::string text() const { return packed_.text(); }

 private:
  void write(std::uint32_t i, const std::vector<Drawn>& drawn, bool is_critical, const Places& places) {
    const Slice& slice = drawn[i].slice;
    const Tag& tag = graph_.tags[slice.task];
    const std::int64_t start = slice.start.count / tick_.count, end = slice.end.count / tick_.count;
    std::int64_t& lane_end = ends_[{slice.actor, slice.stream, slice.lane}];
    packed_.add(static_cast<std::uint64_t>(start - lane_end));
    packed_.add(static_cast<std::uint64_t>(end - start));
    lane_end = end;
    const Kind kind = kind_of(graph_, drawn[i]);
    const auto number = numbers_.emplace(kind, static_cast<std::uint32_t>(numbers_.size())).first->second;
    packed_.add(std::uint64_t{2} * number + (is_critical ? 1 : 0));
    packed_.add_signed(tag.microbatch - microbatch_);
    const int layer = drawn[i].is_merged ? -1 : tag.layer;
    packed_.add_signed(layer - layer_);
    microbatch_ = tag.microbatch;
    layer_ = layer;
    write_cause(i, drawn, places);
  }

  void write_cause(std::uint32_t i, const std::vector<Drawn>& drawn, const Places& places) {
    TaskId before = befores_[drawn[i].slice.task];
    while (before != nothing && graph_.kinds[before] == TaskKind::barrier) before = befores_[before];
    const std::uint32_t cause = before == nothing ? nothing : places.of(before, drawn[i].slice.actor, drawn);
    if (cause == nothing) return packed_.add(0);
    const auto back = static_cast<std::int64_t>(i) - static_cast<std::int64_t>(cause);
    packed_.add(1 + (static_cast<std::uint64_t>(back) << 1 ^ static_cast<std::uint64_t>(back < 0 ? -1 : 0)));
  }

  const TaskGraph& graph_;
  std::vector<TaskId> befores_;
  std::vector<bool> is_critical_;
  Time tick_;
  std::map<Kind, std::uint32_t> numbers_;
  std::map<std::tuple<ActorId, Stream, std::uint32_t>, std::int64_t> ends_;
  std::int32_t microbatch_ = 0;
  int layer_ = 0;
  Packed packed_;
};

Value value_of_actors(const PageActors& actors) {
  Value rows = empty_list();
  for (std::size_t actor = 0; actor < actors.names.size(); ++actor) {
    Value row = empty_object();
    row.set("name", value_of(actors.names[actor]));
    row.set("rank", value_of(actor / actors.positions));
    rows.items.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

Time page_tick(Time end) {
  Time tick{1};
  while (end.count / tick.count > 2'000'000'000) tick.count *= 10;
  return tick;
}

Value page_timeline(const PageActors& actors, const TaskGraph& graph, const Timeline& timeline,
                    std::size_t most_slices) {
  const Time tick = page_tick(timeline.makespan());
  const std::vector<Slice> slices = by_lane(slices_of(graph, timeline));
  const std::vector<CriticalStep> path = critical_path(graph, timeline);
  const Shown shown = shown_of(actors, graph, path, slices, most_slices);
  SliceWriter writer(graph, timeline, path, tick);
  writer.write(slices, shown.drawn);
  Value value = empty_object();
  value.set("tick_s", value_of(to_seconds(tick)));
  value.set("end", value_of(timeline.makespan().count / tick.count));
  value.set("actors", value_of_actors(actors));
  Value streams = empty_list();
  for (const std::string_view name : stream_names) streams.items.push_back(value_of(name));
  value.set("streams", std::move(streams));
  value.set("kinds", writer.kinds());
  std::vector<std::int64_t> counts(actors.names.size());
  for (const Drawn& drawn : shown.drawn) ++counts[drawn.slice.actor];
  value.set("actors_slices", list_of(counts));
  value.set("count", value_of(shown.drawn.size()));
  value.set("all", value_of(slices.size()));
  if (!shown.left_out.empty()) value.set("left_out", value_of(shown.left_out));
  value.set("slices", value_of(writer.text()));
  return value;
}

Value page_pipeline(const std::vector<std::vector<Cell>>& ranks, Time tick, std::size_t most_cells) {
  constexpr std::uint64_t pair = 4;
  std::size_t most = 0;
  for (const std::vector<Cell>& cells : ranks) most = std::max(most, cells.size());
  const std::size_t of_each = std::max<std::size_t>(1, most_cells / std::max<std::size_t>(1, ranks.size()));
  Packed packed;
  for (const std::vector<Cell>& cells : ranks) {
    const std::size_t count = std::min(cells.size(), of_each);
    packed.add(count);
    std::int64_t before = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const Cell& cell = cells[i];
      const std::int64_t start = cell.start.count / tick.count, end = cell.end.count / tick.count;
      packed.add_signed(start - before);
      packed.add(static_cast<std::uint64_t>(end - start));
      before = end;
      packed.add(cell.beneath ? pair : static_cast<std::uint64_t>(cell.slot.pass));
      packed.add_signed(cell.slot.microbatch);
      packed.add_signed(cell.slot.chunk);
      if (!cell.beneath) continue;
      packed.add_signed(cell.beneath->microbatch);
      packed.add_signed(cell.beneath->chunk);
    }
  }
  Value value = empty_object();
  value.set("ranks", value_of(ranks.size()));
  value.set("cells", value_of(packed.text()));
  if (most > of_each)
    value.set("left_out", value_of(fmt::format("the first {} passes of each rank are shown, of {} at most",
                                               of_each, most)));
  return value;
}

}  // namespace moesim
