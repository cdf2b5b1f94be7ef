// What layers of one microbatch take on one device, in time and memory, for every way to divide them that a
// search asks for: blocks timed by the cost model once for each shape, and programs priced.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "models/base/at.hpp"
#include "sim/estimate/copy_times.hpp"
#include "sim/estimate/division.hpp"
#include "sim/estimate/price.hpp"
#include "sim/estimate/traffic.hpp"
#include "sim/layer/issue.hpp"
#include "sim/read/search_bounds.hpp"
#include "sim/work/placeholders.hpp"
#include "sim/work/share.hpp"
#include "sim/work/update_bytes.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {

/// Times, bytes and elements of a layer, the embedding, the head, or a stage of them. Bytes are counts in
/// floating point: they are compared, not added up exactly.
struct LayerCost {
  std::array<PassTimes, 2> passes{};   ///< alone, at MicrobatchCost::paces
  PassTimes issue{};                   ///< of them by the host
  WorkSeconds work;                    ///< of a forward and a full backward
  double activations = 0;              ///< bytes kept from forward to backward
  double recomputed = 0;               ///< of a layer: Kept::recomputed
  double for_weight = 0;               ///< bytes kept from the input gradient to the weight gradient
  HeldElements held{};                 ///< parameters
  double gathered = 0, scattered = 0;  ///< seconds to gather its parameters, to reduce its gradients
  /// Of software that holds memory as it is computed, when a backward begins: of the last layer what is
  /// computed again and what its kernels hold, and of the head the latter.
  double in_backward = 0, head_in_backward = 0;
  std::array<double, 2> offloaded{};  ///< bytes of a layer on the host, the most of either block
  double placeholders = 0;            ///< bytes that stand for gradients, of the layer that has most of them
  double head_placeholders = 0;       ///< of the head, beside those

  LayerCost& operator+=(const LayerCost& more);
  /// On the fastest rank.
  Time in(Pass pass) const { return at(passes[0], pass); }
  /// Seconds of a forward and a full backward there.
  double seconds() const { return to_seconds(in(Pass::forward) + in(Pass::backward)); }
  friend bool operator==(const LayerCost&, const LayerCost&) = default;
};

/// All layers of one division, microbatch size and recomputation.
struct MicrobatchCost {
  std::vector<LayerCost> layers;                   ///< by shape
  std::vector<std::array<LayerCopies, 2>> copies;  ///< by shape, at both paces; empty: none
  LayerCost embedding;
  std::array<LayerCost, 2> heads;   ///< on a rank that holds the first stage too, and apart from it
  std::int64_t embedding_copy = 0;  ///< elements that the latter adds
  double exchange_buffer = 0, context_buffer = 0, send_buffer = 0;  ///< bytes
  double send = 0;                                                  ///< seconds from stage to stage
  double gather_sent = 0;            ///< seconds in which the receiving group gathers what was sent in parts
  std::vector<double> pace_of_rank;  ///< Scenario::paces of the division
  Paces paces;                       ///< of these
  Recompute recompute{};             ///< by which layers of a kind differ, where they do; nothing else of it
  std::size_t kinds = 0;             ///< of layers; each has a shape for each variant of recomputation
  /// The shape of a layer of that kind (entry of CostTables::kind_of_layer()) at that place in its stage.
  std::size_t shape(std::size_t kind, std::int64_t place) const {
    return recompute.variant(place) * kinds + kind;
  }
  friend bool operator==(const MicrobatchCost&, const MicrobatchCost&) = default;
};

/// A layer or an end of the model, as cost() was last asked for it.
struct PricedPrograms {
  std::int64_t layer = -1;
  LayerTimes times;
  std::array<Kept, 2> kept{};  ///< by attention, or the end of the model, and by the feed-forward
  const Programs* programs = nullptr;
  bool is_woven = false;  ///< the two that follow are known
  std::vector<ActPrice> woven_forward{}, woven_backward{};
  std::array<Time, 2> woven_issue{};  ///< of the host, of either
  PassTimes alone{};                  ///< on the fastest rank
  PricedPlace place() const { return {layer, times}; }
  const Kept& kept_of(Activity block) const { return kept[block == Activity::feed_forward ? 1 : 0]; }
};

/// Tables of one scenario. What is asked again is remembered. Not for several threads.
class CostTables {
 public:
  /// The scenario's layout, batch and recomputation are overwritten.
  explicit CostTables(Scenario scenario, Sizing sizing = Sizing::interpolated);
  CostTables(const CostTables&) = delete;
  CostTables& operator=(const CostTables&) = delete;

  const Scenario& scenario() const { return scenario_; }
  TrafficTimes& traffic() { return traffic_; }
  /// For each layer, the number of its kind.
  const std::vector<std::size_t>& kind_of_layer() const { return kind_of_layer_; }

  DivisionGroups groups(const Division& division);
  MicrobatchCost cost(const Division& division, const DivisionGroups& groups, std::int64_t microbatch,
                      const RecomputeChoice& recompute, std::size_t recompute_number);

  /// Of what cost() was last asked for: a forward of one stage beside a full backward of another, at both
  /// paces.
  std::array<Time, 2> pair(const StageContent& forward, const StageContent& backward);
  const Paces& paces() const { return paces_; }
  /// The programs of a layer, the embedding or the head with what they take, and an act of them.
  const PricedPrograms& priced(const Issued& issued) const { return priced_[number_of(issued)]; }
  ActPrice price(const Act& act, const PricedPrograms& of) const {
    return prices_.of(act, of.place(), groups_);
  }
  /// Bytes that such a stage holds in the midst of an input gradient alone, and of a pair, beyond those when
  /// it begins.
  double rise_of_input(const StageContent& stage);
  double rise_of_pair(const StageContent& forward, const StageContent& backward);

 private:
  /// What does not depend on who communicates.
  struct BlockCost {
    BlockTimes times;
    BlockPieces pieces;
    double activations = 0, for_weight = 0, context_buffer = 0, exchange_buffer = 0;
    double again = 0, in_backward = 0, offloaded = 0, recomputed = 0;
    std::vector<WeightShape> weights;  ///< for which placeholders stand
    Kept kept() const {
      return {.for_backward = from_bytes(activations),
              .for_weight = from_bytes(for_weight),
              .offloaded = from_bytes(offloaded),
              .recomputed = from_bytes(recomputed)};
    }
  };
  struct KnownPrograms {
    LayerForm form;
    Programs layer, embedding, head;
  };
  struct KnownPair {
    StageContent forward, backward;
    std::array<Time, 2> times;
  };
  /// Of a forward beside a backward, or of an input gradient, which is then both.
  struct KnownRise {
    StageContent forward, backward;
    bool is_pair;
    double bytes;
  };
  /// Parameters, and seconds to gather them and to reduce their gradients.
  struct HeldCost {
    HeldElements elements;
    double gathered = 0, scattered = 0;
  };
  using Key = std::array<std::int64_t, 6>;

  /// The spread of rows that makes the busiest rank of the layout and microbatch as busy as the scenario's
  /// loads make it, in the mean layer.
  double spread_of_layout();
  GroupSet add_ring(const Layout& layout, const std::vector<Group>& context);
  /// DivisionGroups::outside.
  std::array<std::array<std::array<double, 2>, 2>, 2> outside(const Layout& layout) const;
  void become(const Division& division, std::int64_t microbatch, const Recompute& recompute);
  BlockCost cost_of(const BlockOps& ops) const;
  const std::vector<BlockCost>& attention(const Key& key);
  const std::vector<BlockCost>& feed_forward(const Key& key);
  const std::array<BlockCost, 2>& ends(const Key& key);
  const KnownPrograms& programs_of(LayerForm form);
  LayerCost layer(std::size_t kind, const BlockCost& attention, const BlockCost& feed_forward);
  /// Blocks of all kinds of layers, of which so much is computed again; the scenario then is of that.
  struct VariantCosts {
    const std::vector<BlockCost>&attentions, &feed_forwards;
  };
  VariantCosts of_variant(std::size_t variant, std::int64_t recompute_number);
  /// `compute` has what the ends of the model compute.
  void slow_communication(BesideCompute compute, std::int64_t recompute_number);
  void add_variant(std::size_t variant, std::int64_t recompute_number, MicrobatchCost& cost);
  std::size_t shapes() const { return recompute_.variants() * layer_of_kind_.size(); }
  std::size_t shape_of(std::size_t layer, std::int64_t place) const {
    return recompute_.variant(place) * layer_of_kind_.size() + kind_of_layer_[layer];
  }
  void add_copies(MicrobatchCost& cost);
  LayerCopies copies_of(const PricedPrograms& priced, double pace);
  Time copied_by(const StageContent& stage) const;
  void add_ends(const std::array<BlockCost, 2>& blocks, MicrobatchCost& cost);
  LayerCost keep(PricedPrograms priced);
  void add_sends(MicrobatchCost& cost);
  HeldCost cost_of(const Holdings& held, const HeldElements& elements);
  void find_held(const Sizes& sizes);
  static void add_held(const HeldCost& held, LayerCost& cost);
  const std::vector<double>& pace_of_rank();
  std::size_t embedding_number() const { return shapes(); }
  std::size_t head_number() const { return shapes() + 1; }
  const PricedPrograms& woven(const Issued& issued);
  bool is_alike(const StageContent& one, const StageContent& other) const;
  Time issue_of(const StageContent& stage, bool is_backward);
  Time time_of_pair(const StageContent& forward, const StageContent& backward, double pace);
  Time play(std::span<const Issued> issued, double pace);
  void issue(const Issued& issued);
  double rise(const StageContent& forward, const StageContent& backward, bool is_pair);
  double played_rise(const StageContent& forward, const StageContent& backward, bool is_pair) const;
  std::size_t number_of(const Issued& issued) const;

  Scenario scenario_;
  Sizing sizing_;
  TrafficTimes traffic_;
  Prices prices_;
  Play play_;
  DivisionGroups groups_{};             // of what cost() was last asked for, and the rest that follows
  std::vector<PricedPrograms> priced_;  // by shape, then embedding and head
  Paces paces_;
  std::vector<KnownPair> pairs_;
  std::vector<KnownRise> rises_;
  std::deque<KnownPrograms> programs_;
  Key held_key_{};              // of the division of which held_ is
  std::vector<HeldCost> held_;  // by kind, then the embedding and the head, not apart and apart
  std::int64_t embedding_copy_ = 0;
  bool is_uneven_ = false;
  Recompute recompute_;                                    // that cost() was last asked for
  std::map<std::array<std::int64_t, 3>, double> spreads_;  // by expert ranks, tokens of a device and nodes
  std::vector<std::size_t> kind_of_layer_, layer_of_kind_;
  std::map<Key, std::vector<BlockCost>> attention_, feed_forward_;
  std::map<Key, std::array<BlockCost, 2>> ends_;
  std::map<std::int64_t, std::vector<double>> pace_of_rank_;  // by pipeline ranks
};

}  // namespace moesim
