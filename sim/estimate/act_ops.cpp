#include "sim/estimate/act_ops.hpp"

#include <span>

#include "sim/work/share.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {
namespace {

const std::vector<Op>& list_of(const BlockOps& block, OpPass pass) {
  if (pass == OpPass::forward) return block.forward;
  return pass == OpPass::backward_input ? block.backward_input : block.backward_weight;
}

void append(const BlockOps& more, BlockOps& block) {
  const auto add = [](const std::vector<Op>& from, std::vector<Op>& to) {
    to.insert(to.end(), from.begin(), from.end());
  };
  add(more.forward, block.forward);
  add(more.backward_input, block.backward_input);
  add(more.backward_weight, block.backward_weight);
}

/// The model's head, and with each prediction layer one more and an embedding of its own.
BlockOps head_ops(const Scenario& scenario) {
  const Share share = share_of(scenario);
  const BlockOps one = lower_head(scenario.model, share, scenario.habits().fused_loss);
  BlockOps all = one;
  for (std::int64_t i = 0; i < scenario.model.prediction_layers; ++i) {
    append(one, all);
    append(lower_embedding(scenario.model, share), all);
  }
  return all;
}

LayerOps ops_of(const Scenario& scenario, const Issued& issued) {
  if (issued.end == Activity::none) return ops_of_layer(scenario, static_cast<std::size_t>(issued.layer));
  if (issued.end == Activity::head) return {head_ops(scenario), {}};
  return {lower_embedding(scenario.model, share_of(scenario)), {}};
}

}  // namespace

ActOps::ActOps(const Scenario& scenario, const Issued& issued)
    : scenario_(scenario), ops_(ops_of(scenario, issued)) {
  if (issued.end == Activity::none && issued.layer >= 0)
    shared_ = shared_experts_of_layer(scenario, static_cast<std::size_t>(issued.layer));
}

/// An op belongs to the last of the pieces that the list has up to it.
std::vector<Op> ActOps::of_piece(const Act& act, const std::vector<Op>& block) const {
  std::vector<Op> before, ops;
  for (const Op& op : block) {
    before.push_back(op);
    if (pieces_of(before, act.pass, scenario_).size() == static_cast<std::size_t>(act.piece) + 1)
      ops.push_back(op);
  }
  return ops;
}

/// Shared experts, or the rest of their block.
std::vector<Op> ActOps::of_experts(const Act& act, const std::vector<Op>& block) const {
  const std::vector<Op>& shared = list_of(shared_, act.pass);
  if (act.piece == shared_experts_piece) return shared;
  std::vector<Op> rest;
  std::size_t next = 0;  // of the shared ones, which stand in the block in their order
  for (const Op& op : block) {
    const bool is_shared = next < shared.size() && op.name == shared[next].name &&
                           op.pass == shared[next].pass && op.kind == shared[next].kind;
    if (is_shared) {
      ++next;
    } else {
      rest.push_back(op);
    }
  }
  return rest;
}

OpsOfAct ActOps::of(const Act& act) const {
  const BlockOps& block = act.activity == Activity::feed_forward ? ops_.feed_forward : ops_.attention;
  const std::vector<Op>& all = list_of(block, act.pass);
  if (act.piece == shared_experts_piece || act.piece == other_experts_piece) return {of_experts(act, all)};
  if (act.piece < 0) return {all};
  std::vector<Op> ops = of_piece(act, all);
  if (act.blocks == 0) return {std::move(ops)};
  if (ops.front().tensor_call != TensorCall::none && ops.front().kind == OpKind::gemm)
    return {{part_of_product(ops.front(), scenario_)}, static_cast<double>(act.blocks)};
  // A kernel for each block of keys, or else kernels whose work is even over blocks.
  const std::int64_t blocks = scenario_.layout.sizes().context;
  if (std::ssize(ops) != blocks)
    return {std::move(ops), static_cast<double>(act.blocks) / static_cast<double>(blocks)};
  const auto first = ops.begin() + act.first_block;
  return {{first, first + act.blocks}};
}

}  // namespace moesim
