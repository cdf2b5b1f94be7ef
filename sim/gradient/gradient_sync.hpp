// How gradients become new parameters on every rank that holds them. A member returns a plan; lowering and
// memory serve every plan.
#pragma once

#include <cstdint>

#include "models/base/precision.hpp"
#include "models/base/units.hpp"
#include "models/config/family.hpp"
#include "sim/collective/collective.hpp"

namespace moesim {

/// Who gets the sum of a gradient and computes the new parameter from it.
enum class Updater : std::uint8_t {
  every_rank,  ///< all of it: the sum goes to all, and nothing comes back
  owner,       ///< one shard each: a reduce-scatter brings it
  server,      ///< the whole on one rank (or one of each node); the others wait for the parameters
};

/// The operation that brings the sum of gradients to whoever updates.
Operation gradient_operation(Updater updater);

/// What a device copies beside what it sends.
enum class SyncCopies : std::uint8_t {
  none,
  buckets,  ///< gradients into their bucket, and the sums back
  views,    ///< gradients into their bucket: they are views of it afterwards
  units,    ///< shards into a flat buffer, gathered ones into parameters, gradients into parts for each rank
};

/// How long gathered parameters stay.
enum class Keeps : std::uint8_t {
  pass,        ///< until the forward or the backward that needs them has ended
  microbatch,  ///< from its forward to its backward
  step,        ///< from their first use on
};

/// One way to synchronise the ranks that hold the same parameters (a group). What is sharded is cut into as
/// many parts as the group has ranks.
struct GradientPlan {
  Updater updater = Updater::every_rank;
  /// A rank keeps only its shard of the sum: gradients are sent after every microbatch, not once a step.
  bool shards_gradients = false;
  /// A rank keeps only its shard of the parameters: they are gathered before each layer's forward and
  /// backward and do not come back after the update.
  bool shards_parameters = false;
  /// Whole parameters come back after the update beside the next step's first passes, which wait for them
  /// layer by layer; else before any pass.
  bool gathers_beside = false;
  Keeps keeps = Keeps::pass;     ///< gathered parameters
  bool server_per_node = false;  ///< of servers: those of several nodes sum among each other
  bool overlap = false;          ///< sent beside compute as soon as a bucket is full; else passes wait
  bool by_layer = false;         ///< a bucket ends with its layer, whatever its size
  bool by_tensor = false;        ///< a bucket ends with the tensor that fills it
  Bytes bucket{};                ///< of gradients that are sent together; 0: as bucket_for has it
  SyncCopies copies = SyncCopies::none;
  Precision shards = Precision::bf16;  ///< of sharded parameters that are kept
  std::int64_t ahead = 1;              ///< units that are gathered before they are needed
  std::int64_t shard_ranks = 0;  ///< neighbours over which all is sharded; their sums are summed once more
                                 ///< over the others. 0: all ranks

  /// Size of a bucket in a group of that many ranks, with gradients of that size each. Not given it is
  /// Megatron-LM's (core/distributed/distributed_data_parallel.py): 40,000,000 gradients, and in groups of
  /// more than 40 ranks 1,000,000 a rank, so that latency does not rule.
  Bytes bucket_for(std::int64_t ranks, Bytes gradient) const;
  /// Layers are units that are gathered and reduced as one, and so are both ends of the model together.
  bool has_units() const { return copies == SyncCopies::units; }
  /// Passes gather parameters or scatter gradients, so that ranks that share them wait for each other.
  bool shards_passes() const { return shards_gradients || shards_parameters || gathers_beside; }
  /// Passes gather what they need and is not there.
  bool gathers_in_passes() const { return shards_parameters || gathers_beside; }
  /// What was gathered stays for the step.
  bool gathers_once() const { return gathers_beside || keeps == Keeps::step; }
  /// Gradients are copied into buckets that are there all the time.
  bool has_buckets() const { return copies == SyncCopies::buckets || copies == SyncCopies::views; }
  /// Ranks over which a group of that many shards.
  std::int64_t shards_over(std::int64_t ranks) const {
    return shard_ranks > 0 && ranks % shard_ranks == 0 ? shard_ranks : ranks;
  }
  friend bool operator==(const GradientPlan&, const GradientPlan&) = default;
};

/// A way of synchronisation. A family.
class GradientSync {
 public:
  virtual ~GradientSync() = default;
  /// What is sent, what is sharded and who updates.
  virtual GradientPlan plan() const = 0;
};

/// The members of the family.
Register<GradientSync> gradient_syncs();

/// A member that is its plan.
std::unique_ptr<const GradientSync> make_gradient_sync(const GradientPlan& plan);

/// Reads what all members have: "overlap" and "bucket".
GradientPlan read_gradient_timing(Reader& reader);
/// Reads "overlap_parameters", of members whose parameters come back from those who update a shard.
void read_parameter_timing(Reader& reader, GradientPlan& plan);

}  // namespace moesim
