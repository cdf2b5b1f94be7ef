// The timeline as a page draws it: few bytes a slice, and never more slices than a browser draws smoothly.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "models/config/value.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"
#include "sim/report/cells.hpp"

namespace moesim {

/// Times on a page are counted in ticks: the power of ten picoseconds of which a step has 2e9 at most.
Time page_tick(Time end);

/// Names of actors and the pipeline rank of each.
struct PageActors {
  std::vector<std::string> names;
  std::size_t positions = 1;  ///< actors of a pipeline rank
};

/// {tick_s, end, actors: [{name, rank}], streams, kinds: [[activity, pass, chunk, stream, lane, overlapped]],
/// actors_slices, count, slices, all, left_out}. `slices` is Packed; for each slice, by actor and start:
/// ticks since the end of the one before it on its lane, ticks that it takes, twice the number of its kind
/// and 1 more on the critical path, microbatch and layer less those of the slice before it (signed), and 0 or
/// 1 + its number less that of the slice that it waited for last (signed, as one number). Above `most_slices`
/// the blocks of a pass become one slice; if that is not enough some actors are left out, first those of
/// ranks that have others which decide more of the step, then the end of the step. `left_out` says so in
/// words.
Value page_timeline(const PageActors& actors, const TaskGraph& graph, const Timeline& timeline,
                    std::size_t most_slices);

/// The pipeline as papers draw it: {ranks, cells: Packed, left_out}, for each pipeline rank how many cells it
/// has, then for each ticks since the end of the one before it, ticks that it takes, the pass (Pass; of a
/// pair 4), microbatch, chunk, and of a pair those of the backward.
Value page_pipeline(const std::vector<std::vector<Cell>>& ranks, Time tick, std::size_t most_cells);

}  // namespace moesim
