// What a compute task of a pass is made of.
#pragma once

#include "models/base/at.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {

inline OpPass pass_of(const Tag& tag) {
  return tag.pass == PassKind::forward           ? OpPass::forward
         : tag.pass == PassKind::backward_weight ? OpPass::backward_weight
                                                 : OpPass::backward_input;
}

/// Of the block of a layer, or the end of the model, that the task computes, in its pass.
inline const PassShares& shares_of(const WorkTimes& times, const Tag& tag) {
  const OpPass pass = pass_of(tag);
  if (tag.activity == Activity::embedding) return at(times.embedding_shares(), pass);
  if (tag.activity == Activity::head) return at(times.head_shares(), pass);
  const LayerShares& layer = times.shares(tag.layer);
  return at(tag.activity == Activity::feed_forward ? layer.feed_forward : layer.attention, pass);
}

}  // namespace moesim
