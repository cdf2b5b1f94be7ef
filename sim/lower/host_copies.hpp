// Copies of activations to the host's memory and back, as Megatron-Core makes them (core/pipeline_parallel/
// fine_grained_activation_offload.py): a stream for each way beside all others. What a block keeps leaves
// behind its forward, which goes on once the copy before, of the same block of another layer, has ended: one
// is under way (--fine-grained-offloading-max-inflight-offloads 1). It comes back while the layer behind it,
// or the last layer of the backward before, computes the same block's gradients. Of a backward that nothing
// could bring back in time, the last layer stays on the device.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/lower/communicators.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// A block of a layer in a pass of an actor.
struct CopiedBlock {
  ActorId actor = 0;
  std::int16_t chunk = 0;
  std::int32_t microbatch = 0;
  std::int64_t layer = 0;
  Activity block = Activity::none;
};

class HostCopies {
 public:
  HostCopies(const Work& work, const ExpertLoads* loads, const Communicators& communicators,
             GraphBuilder& builder);

  /// What the block keeps leaves behind that task. Returns the copy that its pass goes on behind, or nothing.
  TaskId leave(const CopiedBlock& of, const Tag& tag, TaskId behind);
  /// The copy that has brought it back, or nothing.
  TaskId come_back(const CopiedBlock& of, const Tag& tag, TaskId behind);
  /// The block has done with it behind that task: what the next backward of such a block needs comes.
  void let_go(const CopiedBlock& of, const Tag& tag, TaskId behind);

 private:
  /// The backward of a chunk and microbatch on a pipeline rank.
  struct Turn {
    bool stays = true;       ///< what its last layer keeps stays
    std::int64_t next = -1;  ///< the backward after it, of that number; -1: none that could come already
    std::int16_t chunk = 0;
    std::int32_t microbatch = 0;
    std::int64_t first_layer = 0, layers = 0;
  };
  /// The last copy of a kind of block.
  struct Copy {
    TaskId task = nothing;
    std::int64_t turn = -1, layer = -1;
    bool is_of(std::int64_t of_turn, std::int64_t of_layer) const {
      return task != nothing && turn == of_turn && layer == of_layer;
    }
  };
  struct Actor {
    TaskId out = nothing, in = nothing;  // of each stream the last
    std::array<Copy, 2> left, back;      // of attention, of the feed-forward
  };

  void find_bytes();
  void find_turns();
  Bytes bytes_of(const CopiedBlock& of) const;
  std::int64_t turn_of(const CopiedBlock& of) const;
  /// The last layer of a turn of which something leaves, from that one down; -1: none.
  std::int64_t last_layer(const Turn& turn, std::int64_t from, Activity block) const;
  bool stays(const CopiedBlock& of) const;
  void fetch(CopiedBlock of, const Tag& tag, TaskId behind);
  TaskId copy(ActorId actor, Bytes bytes, Activity way, Tag tag);

  const Work& work_;
  const ExpertLoads* loads_;
  const Communicators& communicators_;
  GraphBuilder& builder_;
  std::vector<std::array<Bytes, 2>> bytes_;  // by layer; empty: nothing leaves
  std::vector<std::vector<Turn>> turns_;     // by pipeline rank, chunk and microbatch
  std::vector<Actor> actors_;
  std::map<std::pair<std::int64_t, ActorId>, PatternId> patterns_;  // by bytes
};

}  // namespace moesim
