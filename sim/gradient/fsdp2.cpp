// Fully sharded data parallelism as PyTorch's fully_shard does it (torch/distributed/fsdp/_fully_shard:
// _fsdp_param_group.py, _fsdp_collectives.py). A unit is a layer, or all that a model has beside its layers
// (the root, which stays gathered from its first use in a pass to its last). A unit's shards are cast and
// copied into a flat buffer, gathered beside the unit before, and copied out into parameters; after its
// backward its gradients are copied into one part for each rank, reduced and scattered. With shards over part
// of the ranks the rest holds the same, and sums are summed over them (HSDP). Psi parameters in m
// microbatches: each rank of N sends 2 m (N-1)/N Psi parameters, half of that where they are kept from
// forward to backward, and m (N-1)/N Psi gradients; either once where it is kept whole over the step.
#include <array>
#include <string_view>

#include "sim/gradient/gradient_sync.hpp"

namespace moesim {
namespace {

/// How long gathered parameters stay.
Keeps read_keeps(Reader& reader) {
  const bool reshards = reader.flag({.name = "reshard_after_forward",
                                     .help = "gathered parameters are freed after a forward and gathered "
                                             "again for its backward; else kept in between",
                                     .fallback = true});
  const bool reshards_after_backward = reader.flag(
      {.name = "reshard_after_backward",
       .help = "and after a backward; else they stay from their first use in a step to its end, as "
               "in stages of torch.distributed.pipelining",
       .fallback = true});
  if (reshards && !reshards_after_backward)
    reader.fail("reshard_after_backward",
                "is false, expected true where parameters are freed after a forward");
  return reshards ? Keeps::pass : reshards_after_backward ? Keeps::microbatch : Keeps::step;
}

std::unique_ptr<const GradientSync> make(Reader& reader) {
  static constexpr std::array<std::string_view, 2> precisions{"bf16", "fp32"}, microbatches{"each", "last"};
  GradientPlan plan;
  plan.updater = Updater::owner;
  plan.shards_parameters = true;
  plan.by_layer = true;
  plan.overlap = true;
  plan.copies = SyncCopies::units;
  plan.keeps = read_keeps(reader);
  plan.shards_gradients =
      reader.choice({.name = "reduce",
                     .help = "microbatches after which gradients are reduced: each, or the last, until which "
                             "they add up whole (set_requires_gradient_sync)",
                     .fallback = "each"},
                    microbatches) == 0;
  const std::size_t chosen = reader.choice(
      {.name = "shards",
       .help = "precision of the parameters that are kept, which the optimizer updates: in fp32 "
               "they are cast before they are gathered; sums are those of precision.gradient "
               "(MixedPrecisionPolicy)",
       .fallback = "fp32"},
      precisions);
  plan.shards = chosen == 0 ? Precision::bf16 : Precision::fp32;
  constexpr std::int64_t most_ahead = 16;
  plan.ahead = reader.integer({.name = "ahead",
                               .help = "units that are gathered before they are needed",
                               .fallback = 1,
                               .at_least = 0,
                               .at_most = most_ahead});
  plan.shard_ranks = reader.integer({.name = "shard_ranks",
                                     .help = "neighbours over which all is sharded, a divisor of the ranks "
                                             "that hold the same; the others hold it again (HSDP). 0: all",
                                     .fallback = 0,
                                     .at_least = 0});
  return make_gradient_sync(plan);
}

}  // namespace

extern constexpr Entry<GradientSync> fsdp2_gradient_sync{
    "fsdp2", "zero3 as PyTorch's fully_shard: units with their casts and copies, gathered ahead", make};

}  // namespace moesim
