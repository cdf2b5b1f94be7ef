// In which turn microbatches go through the chunks of a rank, for all schedules that interleave.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/schedule/schedule.hpp"

namespace moesim {

/// Several chunks a rank, in groups of microbatches: a group goes through one chunk, then through the next.
struct Interleaving {
  std::int64_t chunks = 1;
  /// Microbatches of a group; 0: as many groups as leave each at least one microbatch for each rank, of equal
  /// size or one more.
  std::int64_t group = 0;

  /// A group that is given, and what is left for the last one, has a microbatch for each rank at least: with
  /// less, ranks would wait for each other.
  Fit fits(std::string_view kind, const PipelineShape& shape) const;
  /// The largest group.
  std::int64_t largest(const PipelineShape& shape) const;
  /// Chunk and microbatch of each forward of a rank; backwards come in the same turn, from the last chunk.
  std::vector<Slot> turns(const PipelineShape& shape) const;
  /// The slot of a turn in that pass.
  Slot slot(Pass pass, Slot turn) const;
};

/// The keys "chunks" and "group".
Interleaving read_interleaving(Reader& reader);

}  // namespace moesim
