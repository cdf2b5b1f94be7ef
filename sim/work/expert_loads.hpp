// What each rank of an expert group has to do in each layer and microbatch, where ranks differ.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/units.hpp"
#include "models/cluster/fabric.hpp"
#include "models/routing/expert_placement.hpp"
#include "sim/work/block_times.hpp"

namespace moesim {

struct Scenario;

/// A layer's feed-forward block on one rank.
struct ExpertWork {
  std::int64_t rows = 0;  ///< that it computes: those that arrive for its experts, at it and at the ranks
                          ///< that share them
  BlockTimes times;
  Bytes activations, for_weight, offloaded;  ///< BlockOps
};

/// What was routed in one layer and microbatch of one expert group.
struct LoadCounts {
  std::vector<std::int64_t> of_experts;  ///< rows, from all sources
  std::vector<std::int64_t> of_ranks;    ///< rows that arrive at each, as computed
  std::int64_t dropped = 0, kept = 0;    ///< choices
  std::int64_t sent = 0;                 ///< rows, with those that fill up padded buffers
};

/// Loads that differ have numbers: those of one layer, one microbatch and one expert group. Where a layer's
/// loads are those of every microbatch and group, they share one number.
class ExpertLoads {
 public:
  explicit ExpertLoads(const Scenario& scenario);

  std::uint32_t number_of(std::int64_t layer, std::int64_t microbatch, std::int64_t group) const {
    const Span& span = at(spans_, layer);
    return span.first +
           static_cast<std::uint32_t>(microbatch % span.microbatches * span.groups + group % span.groups);
  }
  std::uint32_t count() const { return static_cast<std::uint32_t>(origins_.size()); }
  const ExpertWork& work(std::uint32_t number, std::int64_t rank) const {
    return works_[work_of_rank_[static_cast<std::size_t>(number) * ranks_ + static_cast<std::size_t>(rank)]];
  }
  const LoadCounts& counts(std::uint32_t number) const { return counts_[number]; }
  const ExpertPlacement& placement(std::int64_t layer) const { return at(placements_, layer); }
  /// Expert groups with loads of their own; one where one stands for all.
  std::int64_t groups() const { return groups_; }
  /// Rows that a rank sends out in a layer, and gets: mean over ranks, microbatches and groups. Without drops
  /// its tokens x top-k.
  std::int64_t mean_rows(std::int64_t layer) const { return at(mean_rows_, layer); }
  /// The most rows that a rank computes.
  std::int64_t most_rows() const { return most_rows_; }
  /// The most bytes that a rank's experts send to the host.
  Bytes most_offloaded() const;
  /// Rows as ranks see them, routed again: they are many, and needed once.
  RankRows rows(const Scenario& scenario, std::uint32_t number) const;

 private:
  /// The numbers of a layer; a dense layer has none.
  struct Span {
    std::uint32_t first = 0;
    std::int64_t microbatches = 1, groups = 1;
  };
  /// Where a number comes from; the group is the one whose draw it has.
  struct Origin {
    std::int64_t layer, microbatch, group;
  };
  class Maker;

  void route(const Scenario& scenario, const Origin& origin, Loads& loads) const;

  std::size_t ranks_ = 1;
  std::int64_t groups_ = 1;
  std::vector<Span> spans_;                  // by layer
  std::vector<ExpertPlacement> placements_;  // by layer
  std::vector<Origin> origins_;              // by number
  std::vector<LoadCounts> counts_;           // by number
  std::vector<std::uint32_t> work_of_rank_;  // [number][rank]
  std::vector<ExpertWork> works_;            // that differ
  std::vector<std::int64_t> mean_rows_;      // by layer
  std::int64_t most_rows_ = 0;
};

/// Whether any layer's loads differ between the ranks of an expert group.
bool has_uneven_loads(const Scenario& scenario);
/// Nodes that an expert group fills alike, among which placement may choose; else one.
std::int64_t even_nodes(const Scenario& scenario);
/// Where balanced placement puts the experts of a layer with that load each, on so many nodes: even_nodes().
ExpertPlacement place_by_load(const Scenario& scenario, const std::vector<double>& load, std::int64_t layer,
                              std::int64_t nodes);
/// Rows of the busiest rank over those of the mean rank, in the mean layer of the first microbatch. Of the
/// layout only the expert-parallel size and even_nodes() count, of a microbatch a device's tokens.
double busiest_over_mean_rows(const Scenario& scenario);

}  // namespace moesim
