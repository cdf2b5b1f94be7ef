#include "sim/report/cells.hpp"

#include <algorithm>

#include "models/base/at.hpp"
#include "sim/schedule/stage.hpp"

namespace moesim {
namespace {

/// From the first start to the last end of some tasks.
struct Extent {
  Time start{-1}, end{-1};
  bool is_empty() const { return start.count < 0; }
  void include(Time from, Time to) {
    start = is_empty() ? from : std::min(start, from);
    end = std::max(end, to);
  }
  void include(const Extent& other) {
    if (!other.is_empty()) include(other.start, other.end);
  }
};

/// When a slot's actor computed for it, and when it computed or exchanged for it.
struct SlotExtent {
  Extent compute, all;
};

/// Finds the slot that a task belongs to.
class SlotIndex {
 public:
  explicit SlotIndex(const Order& order) : microbatches_(order.microbatches()) {
    for (const std::vector<Slot>& rank : order.ranks) {
      for (const Slot& slot : rank) chunks_ = std::max<std::int64_t>(chunks_, slot.chunk + 1);
    }
    slots_.assign(order.ranks.size() * static_cast<std::size_t>(chunks_ * microbatches_) * 3, none);
    for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) {
      for (std::size_t i = 0; i < order.ranks[rank].size(); ++i) add(rank, order.ranks[rank][i], i);
    }
  }

  static constexpr std::uint32_t none = 0xffffffff;

  /// The position in its rank's order, or none.
  std::uint32_t find(const Tag& tag) const {
    if (tag.microbatch < 0 || tag.pipeline_rank < 0 || tag.chunk < 0 || tag.pass == PassKind::none)
      return none;
    const PassKind pass = tag.pass == PassKind::backward ? PassKind::backward_input : tag.pass;
    return slots_[place(static_cast<std::size_t>(tag.pipeline_rank), tag.chunk, tag.microbatch, pass)];
  }

 private:
  void add(std::size_t rank, const Slot& slot, std::size_t i) {
    const auto set = [&](PassKind pass) {
      slots_[place(rank, slot.chunk, slot.microbatch, pass)] = static_cast<std::uint32_t>(i);
    };
    if (slot.pass == Pass::forward) set(PassKind::forward);
    if (slot.pass == Pass::backward || slot.pass == Pass::backward_input) set(PassKind::backward_input);
    if (slot.pass == Pass::backward || slot.pass == Pass::backward_weight) set(PassKind::backward_weight);
  }

  std::size_t place(std::size_t rank, std::int64_t chunk, std::int64_t microbatch, PassKind pass) const {
    const auto within = static_cast<std::size_t>(chunk * microbatches_ + microbatch);
    return (rank * static_cast<std::size_t>(chunks_ * microbatches_) + within) * 3 +
           static_cast<std::size_t>(pass) - 1;
  }

  std::int64_t microbatches_, chunks_ = 1;
  std::vector<std::uint32_t> slots_;
};

/// Whether the task runs on the first actor of its rank.
bool is_of_first(const TaskGraph& graph, TaskId task, std::size_t positions) {
  const auto actor =
      static_cast<ActorId>(static_cast<std::size_t>(graph.tags[task].pipeline_rank) * positions);
  if (graph.kinds[task] == TaskKind::compute) return graph.actors[task] == actor;
  if (graph.kinds[task] != TaskKind::coflow || stream_of(graph.tags[task].activity) != Stream::exchange)
    return false;
  const std::span<const ActorId> members = graph.members_of(graph.pattern_table[graph.patterns[task]]);
  return std::find(members.begin(), members.end(), actor) != members.end();
}

std::vector<std::vector<SlotExtent>> extents_of(const Order& order, const TaskGraph& graph,
                                                const Timeline& timeline) {
  const std::size_t positions = graph.actor_count / order.ranks.size();
  const SlotIndex index(order);
  std::vector<std::vector<SlotExtent>> extents;
  for (const std::vector<Slot>& rank : order.ranks) extents.emplace_back(rank.size());
  for (TaskId task = 0; task < graph.size(); ++task) {
    const std::uint32_t slot = index.find(graph.tags[task]);
    if (slot == SlotIndex::none || !is_of_first(graph, task, positions)) continue;
    SlotExtent& extent = at(extents, graph.tags[task].pipeline_rank)[slot];
    extent.all.include(timeline.starts[task], timeline.ends[task]);
    if (graph.kinds[task] == TaskKind::compute)
      extent.compute.include(timeline.starts[task], timeline.ends[task]);
  }
  return extents;
}

/// A cell before it is cut to the time in which no other computes.
struct RoughCell {
  Cell cell;
  SlotExtent extent;
};

std::vector<RoughCell> rough_cells(const std::vector<Slot>& slots, const std::vector<SlotExtent>& extents) {
  std::vector<RoughCell> cells;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    RoughCell rough{{.start = {}, .end = {}, .position = i, .slot = slots[i], .beneath = {}}, extents[i]};
    if (slots[i].overlapped && i + 1 < slots.size()) {
      rough.cell.beneath = slots[++i];
      rough.extent.compute.include(extents[i].compute);
      rough.extent.all.include(extents[i].all);
      if (rough.cell.slot.pass != Pass::forward) std::swap(rough.cell.slot, *rough.cell.beneath);
    }
    if (rough.extent.compute.is_empty()) rough.extent.compute = rough.extent.all;
    if (!rough.extent.all.is_empty()) cells.push_back(rough);
  }
  std::stable_sort(cells.begin(), cells.end(), [](const RoughCell& a, const RoughCell& b) {
    return a.extent.compute.start < b.extent.compute.start;
  });
  return cells;
}

std::vector<Cell> cut(const std::vector<RoughCell>& rough) {
  std::vector<Cell> cells;
  Time free;
  for (std::size_t i = 0; i < rough.size(); ++i) {
    Cell cell = rough[i].cell;
    cell.start = std::max(rough[i].extent.all.start, free);
    cell.end = rough[i].extent.all.end;
    if (i + 1 < rough.size()) cell.end = std::min(cell.end, rough[i + 1].extent.compute.start);
    cell.end = std::max(cell.end, cell.start);
    free = cell.end;
    cells.push_back(cell);
  }
  return cells;
}

}  // namespace

std::vector<std::vector<Cell>> cells_of(const Order& order, const TaskGraph& graph,
                                        const Timeline& timeline) {
  const std::vector<std::vector<SlotExtent>> extents = extents_of(order, graph, timeline);
  std::vector<std::vector<Cell>> cells;
  for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) {
    cells.push_back(cut(rough_cells(order.ranks[rank], extents[rank])));
  }
  return cells;
}

std::vector<OrderRow> order_rows(const Order& order, const std::vector<std::vector<Cell>>& cells) {
  const StageTable stages(order);
  std::vector<OrderRow> rows;
  for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) {
    const std::vector<Slot>& slots = order.ranks[rank];
    const std::size_t first = rows.size();
    for (std::size_t i = 0; i < slots.size(); ++i)
      rows.push_back(
          {.rank = rank, .position = i, .slot = slots[i], .stage = stages.stage_of(rank, slots[i])});
    for (std::size_t i = 0; i + 1 < slots.size(); ++i) {
      if (!slots[i].overlapped) continue;
      rows[first + i].beside = i + 1;
      rows[first + i + 1].beside = i;
      ++i;
    }
    for (const Cell& cell : cells[rank]) {
      rows[first + cell.position].cell = cell;
      if (cell.beneath) rows[first + cell.position + 1].cell = cell;
    }
  }
  return rows;
}

}  // namespace moesim
