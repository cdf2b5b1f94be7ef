// Buckets of whole tensors, as DDP has them: copied in block by block as backward comes to them, sent as they
// fill, copied out as their sums come.
#include <algorithm>
#include <utility>

#include "sim/lower/synchronisation.hpp"
#include "sim/work/tensors.hpp"

namespace moesim {
namespace {

/// Of the first bucket, so that sums begin early (torch/csrc/distributed/c10d/reducer.hpp,
/// kDefaultFirstBucketBytes).
constexpr Bytes first_bucket{1 << 20};

}  // namespace

TaskId Synchronisation::copy_in(ActorId actor, const Tag& tag) {
  const BlockTensors tensors = block_tensors(scenario_, tag.activity, tag.layer);
  Copied copied{.tensors = 0};
  for (const bool experts : {false, true}) {
    if (group_of(actor, experts).group_size() == 1) continue;
    for (const std::int64_t elements : tensors.of(experts)) copied.elements += elements;
    copied.tensors += std::ssize(tensors.of(experts));
  }
  return copied.elements == 0 ? nothing : step_.copy(actor, {bucket_in(copied, scenario_.precision)}, tag);
}

void Synchronisation::add_tensors(ActorId actor, const Complete& complete) {
  State& state = states_[actor];
  const BlockTensors tensors = block_tensors(scenario_, complete.tag.activity, complete.tag.layer);
  for (const bool experts : {false, true}) {
    if (group_of(actor, experts).group_size() == 1) continue;
    for (const std::int64_t elements : tensors.of(experts)) {
      state.open_after = complete.after;
      Bytes& open = state.open[experts ? 1 : 0];
      open += size_of(scenario_.precision.gradient) * elements;
      ++state.open_tensors[experts ? 1 : 0];
      if (open >= (state.sent.empty() ? std::min(first_bucket, plan_.bucket) : plan_.bucket))
        send_tensors(actor, experts);
    }
  }
}

void Synchronisation::send_tensors(ActorId actor, bool experts) {
  State& state = states_[actor];
  const Bytes bytes = std::exchange(state.open[experts ? 1 : 0], Bytes{});
  const std::int64_t tensors = std::exchange(state.open_tensors[experts ? 1 : 0], 0);
  if (bytes.count == 0) return;
  const std::int64_t elements = bytes.count / size_of(scenario_.precision.gradient).count;
  state.sent.push_back({{elements, tensors}, send(actor, experts, bytes, {})});
}

void Synchronisation::copy_out(ActorId actor) {
  for (const Bucket& bucket : states_[actor].sent)
    step_.copy(actor, {bucket_out(bucket.copied, scenario_.precision)}, {}, bucket.sum);
}

}  // namespace moesim
