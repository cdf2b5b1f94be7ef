// How long each block of layers takes on one device of the scenario, in each pass.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/scenario/block_times.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// A part of a block between exchanges of keys and values.
struct Piece {
  Timed timed;
  Bytes keys_and_values;  ///< of an attention core: what one context-parallel rank has of them; else none
  bool backward = false;  ///< of an attention core: its gradients too
};

/// A layer's two blocks.
struct LayerTimes {
  BlockTimes attention;
  BlockTimes feed_forward;
  /// The attention block again, by passes of OpPass, cut around its attention cores. Empty without context
  /// parallelism.
  std::array<std::vector<Piece>, 3> pieces{};
};

/// Times of everything that a device computes for one microbatch. Layers of one shape share one entry.
class WorkTimes {
 public:
  explicit WorkTimes(const Scenario& scenario);
  const LayerTimes& layer(std::int64_t layer) const {
    return shapes_[shape_of_layer_[static_cast<std::size_t>(layer)]];
  }
  const BlockTimes& embedding() const { return embedding_; }
  /// All heads together: the model's, and with each prediction layer one more and an embedding of its own.
  const BlockTimes& head() const { return head_; }

  /// One microbatch through the whole model in one pass, on one device of each stage, alone.
  Time of_model(OpPass pass) const;

 private:
  std::vector<LayerTimes> shapes_;
  std::vector<std::size_t> shape_of_layer_;
  BlockTimes embedding_;
  BlockTimes head_;
};

/// Ops one after the other.
class OpSum {
 public:
  void add(const Op& op, const Scenario& scenario);
  Timed timed() const;

 private:
  Time alone_;
  Time contended_;  // while communication holds its multiprocessors
};

/// Time of a list of ops one after the other.
Timed time_of(const std::vector<Op>& ops, const Scenario& scenario);
/// Times of a block's three passes.
BlockTimes times_of(const BlockOps& ops, const Scenario& scenario);

}  // namespace moesim
