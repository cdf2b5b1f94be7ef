// What one layer of one microbatch takes on one device, in time and memory, for every way to divide it that a
// search asks for: the blocks' times from the cost model, once for each shape, and communication alone.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "sim/estimate/traffic.hpp"
#include "sim/read/search_bounds.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/placeholders.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {

/// Seconds, bytes and elements of a layer, the embedding, the head, or a stage of them. Bytes and elements
/// are counts in floating point: they are compared, not added up exactly.
struct LayerCost {
  double forward = 0, backward_input = 0, backward_weight = 0;  ///< compute alone
  double contended = 0;                        ///< all three while communication holds multiprocessors
  double forward_sent = 0, backward_sent = 0;  ///< communication alone that passes wait for
  /// Of the above, what a forward beside a backward tells apart: attention's compute; dispatch and combine;
  /// what is sent before and after each block, and before the backward of a layer that is computed again.
  double attention_forward = 0, attention_input = 0, attention_weight = 0;
  double dispatch = 0, combine = 0;
  double context_forward = 0, context_backward = 0;  ///< keys and values, hidden or not
  double before_attention = 0, after_attention = 0, before_experts = 0, after_experts = 0, again = 0;
  double hidden = 0;                   ///< of backward_sent, where a pass computes both gradients
  double activations = 0;              ///< bytes kept from forward to backward
  double for_weight = 0;               ///< bytes kept from the input gradient to the weight gradient
  double replicated = 0, experts = 0;  ///< parameters: of every data-parallel rank, of experts
  double gathered = 0, scattered = 0;  ///< seconds to gather its parameters, to reduce its gradients
  double largest = 0;                  ///< most parameters that are gathered at a time
  double placeholders = 0;             ///< bytes that stand for gradients, of the layer that has most of them
  double head_placeholders = 0;        ///< of the head, beside those

  LayerCost& operator+=(const LayerCost& more);
  /// Of times only.
  LayerCost& operator*=(double factor);
  double compute() const { return forward + backward_input + backward_weight; }
  double total() const { return compute() + forward_sent + backward_sent; }
  double parameters() const { return replicated + experts; }
  friend bool operator==(const LayerCost&, const LayerCost&) = default;
};

/// A plan's way to divide layers, before its schedule is known.
struct Division {
  Sizes sizes;
  std::vector<Axis> placement;
};

/// Groups of one division; those that synchronise also for a pipeline that holds each stage twice.
struct DivisionGroups {
  GroupSet expert, tensor, context, expert_tensor;
  std::array<GroupSet, 2> data, expert_data;  ///< of pipelines in one direction, in both
  GroupSet send;                              ///< a stage to the next; without one, any
  GroupSet ends;                              ///< the first stage and the last
  /// Communicators' memory, by whether a pipeline goes both ways, whether gradients are summed on every rank,
  /// and whether first and last stage have copies of the embedding.
  std::array<std::array<std::array<double, 2>, 2>, 2> outside;
};

/// All layers of one division, microbatch size and recomputation.
struct MicrobatchCost {
  std::vector<LayerCost> layers;  ///< by shape: entry of Tables::shape_of_layer()
  LayerCost embedding;
  std::array<LayerCost, 2> heads;  ///< on a rank that holds the first stage too, and apart from it
  double embedding_copy = 0;       ///< elements that the latter adds
  double exchange_buffer = 0, context_buffer = 0, send_buffer = 0;  ///< bytes
  double send = 0;                                                  ///< seconds from stage to stage
  double gather_sent = 0;     ///< seconds in which the receiving group gathers what was sent in parts
  std::vector<double> paces;  ///< Scenario::paces of the division
  friend bool operator==(const MicrobatchCost&, const MicrobatchCost&) = default;
};

/// Tables of one scenario. What is asked again is remembered. Not for several threads.
class SearchTables {
 public:
  /// The scenario's layout, batch and recomputation are overwritten.
  explicit SearchTables(Scenario scenario);
  SearchTables(const SearchTables&) = delete;
  SearchTables& operator=(const SearchTables&) = delete;

  const Scenario& scenario() const { return scenario_; }
  TrafficTimes& traffic() { return traffic_; }
  /// For each layer, the number of its shape.
  const std::vector<std::size_t>& shape_of_layer() const { return shape_of_layer_; }

  DivisionGroups groups(const Division& division);
  MicrobatchCost cost(const Division& division, const DivisionGroups& groups, std::int64_t microbatch,
                      const RecomputeChoice& recompute, std::size_t recompute_number);

 private:
  /// An attention core between exchanges of keys and values.
  struct Core {
    std::size_t pass;
    Piece piece;
  };
  struct BlockCost {
    std::array<double, 3> alone{}, contended{};
    double activations = 0, for_weight = 0, context_buffer = 0, exchange_buffer = 0;
    std::vector<Core> cores;
    std::vector<WeightShape> weights;  ///< for which placeholders stand
  };
  using Key = std::array<std::int64_t, 6>;

  /// The spread of rows that makes the busiest rank of the layout and microbatch as busy as the scenario's
  /// loads make it, in the mean layer.
  double spread_of_layout();
  /// DivisionGroups::outside.
  std::array<std::array<std::array<double, 2>, 2>, 2> outside(const Layout& layout) const;
  void become(const Division& division, std::int64_t microbatch, const Recompute& recompute);
  BlockCost cost_of(const BlockOps& ops) const;
  const std::vector<BlockCost>& attention(const Key& key);
  const std::vector<BlockCost>& feed_forward(const Key& key);
  const std::array<BlockCost, 2>& ends(const Key& key);
  LayerCost layer(std::size_t shape, const DivisionGroups& groups, const BlockCost& attention,
                  const BlockCost& feed_forward);
  void add_sent(std::size_t layer, const DivisionGroups& groups, LayerCost& cost);
  /// Seconds that a tensor-parallel group takes to gather a block's input and to sum its output.
  struct Shared {
    double before, after;
  };
  Shared shared(const DivisionGroups& groups);
  void add_exchanged(std::size_t layer, const DivisionGroups& groups, LayerCost& cost);
  void add_context(const BlockCost& attention, const DivisionGroups& groups, LayerCost& cost);
  void add_sent_at_ends(const DivisionGroups& groups, LayerCost& embedding, LayerCost& head);
  void add_sends(const DivisionGroups& groups, MicrobatchCost& cost);
  void add_held(const Holdings& held, const DivisionGroups& groups, LayerCost& cost);
  const std::vector<double>& paces();

  Scenario scenario_;
  TrafficTimes traffic_;
  bool is_uneven_ = false;
  std::map<std::array<std::int64_t, 3>, double> spreads_;  // by expert ranks, tokens of a device and nodes
  std::vector<std::size_t> shape_of_layer_, layer_of_shape_;
  std::map<Key, std::vector<BlockCost>> attention_, feed_forward_;
  std::map<Key, std::array<BlockCost, 2>> ends_;
  std::map<std::int64_t, std::vector<double>> paces_;  // by pipeline ranks
};

}  // namespace moesim
