// How long each block of layers takes on one device of the scenario, in each pass.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

#include "models/base/at.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/work/block_times.hpp"

namespace moesim {

class ExpertLoads;

/// A part of a block between exchanges of keys and values, and what a tensor-parallel group sends beside
/// parts of products.
struct Piece {
  Timed timed;
  Bytes keys_and_values;  ///< of an attention core: what one context-parallel rank has of them; else none
  bool backward = false;  ///< of an attention core: its gradients too
  /// Of an attention core in a ring: by block of keys, the rank's own first. Of a product in parts: of each.
  std::vector<Timed> blocks{};
  TensorCall tensor_call = TensorCall::none;  ///< beside the parts of a product
  bool is_core() const { return keys_and_values.count > 0; }
  /// Blocks of keys and values that a rank sends on beside that block: in forward the next one comes; in
  /// backward gradients follow one block behind.
  std::int64_t sends_beside(std::size_t block) const {
    const bool is_last = block + 1 == blocks.size();
    if (!backward) return is_last ? 0 : 1;
    return is_last || block == 0 ? 1 : 2;
  }
};

/// By passes of OpPass; empty where a block is not cut.
using BlockPieces = std::array<std::vector<Piece>, 3>;
/// The pieces of a pass of a block: each attention core with all its kernels where context parallelism cuts
/// it out, each product that runs in parts, and what lies between them.
std::vector<Piece> pieces_of(const std::vector<Op>& ops, OpPass pass, const Scenario& scenario);
/// Of a block that has such cores or products.
BlockPieces pieces_of(const BlockOps& ops, const Scenario& scenario);
/// One of the parts in which a product runs beside communication, and how many they are: as many as a group
/// that gathers has ranks, each of which sends its part on; four where results are added up (pytorch/module/
/// base.py: num_splits).
Op part_of_product(const Op& product, const Scenario& scenario);
std::int64_t parts_of_product(TensorCall beside, const Scenario& scenario);

/// A layer's two blocks.
struct LayerTimes {
  BlockTimes attention;
  BlockTimes feed_forward;
  /// The attention block again, and a dense feed-forward, cut.
  BlockPieces pieces{}, feed_forward_pieces{};
  /// Of the feed-forward block, shared experts where they are computed beside an exchange, else nothing. The
  /// host launches them with the rest of the block.
  BlockTimes shared_experts{};
};

/// What is left of a block's time without a part of it.
Timed without(const Timed& block, const Timed& part);

/// Of a layer of that shape: as LayerTimes has them.
BlockTimes times_of_shared_experts(const Scenario& scenario, std::size_t layer);

/// How much longer communication takes beside blocks than alone, the mean over their time in all passes.
class BesideCompute {
 public:
  void add(const BlockTimes& block);
  double mean() const { return time_ == 0 ? 1 : 1 + lost_ / time_; }

 private:
  double time_ = 0, lost_ = 0;  // seconds: of the blocks, and by which it takes longer all that time
};

/// What a layer's two blocks are made of.
struct LayerShares {
  BlockShares attention, feed_forward;
};

/// Times of everything that a device computes for one microbatch. Layers of one shape share one entry.
class WorkTimes {
 public:
  /// Of the mean rank where `loads` differ.
  explicit WorkTimes(const Scenario& scenario, const ExpertLoads* loads = nullptr);
  const LayerTimes& layer(std::int64_t layer) const { return shapes_[at(shape_of_layer_, layer)]; }
  const LayerShares& shares(std::int64_t layer) const { return shares_[at(shape_of_layer_, layer)]; }
  const BlockShares& embedding_shares() const { return embedding_shares_; }
  const BlockShares& head_shares() const { return head_shares_; }
  const BlockTimes& embedding() const { return embedding_; }
  const BlockTimes& head() const { return head_; }

  /// One microbatch through the whole model in one pass, on one device of each stage, alone.
  Time of_model(OpPass pass) const;
  /// How much longer communication takes beside the whole model.
  double communication_slowdown() const;

 private:
  std::vector<LayerTimes> shapes_;
  std::vector<LayerShares> shares_;
  BlockShares embedding_shares_, head_shares_;
  std::vector<std::size_t> shape_of_layer_;
  BlockTimes embedding_;
  BlockTimes head_;
};

/// Ops one after the other.
class OpSum {
 public:
  /// The host launches what follows, beside each kernel of it.
  void begin_block(const Scenario& scenario);
  /// So many times.
  void add(const Op& op, const Scenario& scenario, double times = 1);
  Timed timed() const;
  const ClassShares& classes() const { return classes_; }  ///< with seconds as times
  /// All of the time is `block`'s where no op takes any.
  PassShares shares(LayerPart block) const;
  OpSum& operator+=(const OpSum& more);

 private:
  Time alone() const { return std::accumulate(parts_.begin(), parts_.end(), Time{}); }

  std::array<Time, layer_part_count> parts_{};  // alone
  Time contended_;                              // while communication holds its multiprocessors
  double lost_ = 0;        // seconds by which communication beside it takes longer than alone
  HostPath path_{};        // nothing without a host
  ClassShares classes_{};  // with seconds as times
};

/// Time of a list of ops one after the other.
Timed time_of(const std::vector<Op>& ops, const Scenario& scenario);
/// All heads together: the model's, and with each prediction layer one more and an embedding of its own.
BlockTimes head_times(const Scenario& scenario, const BlockTimes& head, const BlockTimes& embedding);
/// Times of a block's three passes.
BlockTimes times_of(const BlockOps& ops, const Scenario& scenario);

}  // namespace moesim
