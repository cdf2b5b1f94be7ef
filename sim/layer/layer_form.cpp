#include "sim/layer/layer_form.hpp"

namespace moesim {
namespace {

std::vector<RingRow> ring_of(const Piece& core) {
  std::vector<RingRow> rows;
  for (std::size_t block = 0; block < core.blocks.size();) {
    const Time each = core.blocks[block].time;
    const std::int64_t sends = core.sends_beside(block);
    RingRow row{.first_block = static_cast<std::int16_t>(block), .sends = static_cast<std::int16_t>(sends)};
    for (; block < core.blocks.size() && core.blocks[block].time == each && core.sends_beside(block) == sends;
         ++block)
      ++row.blocks;
    rows.push_back(row);
  }
  return rows;
}

std::array<std::vector<FormPiece>, 3> forms_of(const BlockPieces& pieces) {
  std::array<std::vector<FormPiece>, 3> forms;
  for (std::size_t pass = 0; pass < pieces.size(); ++pass) {
    for (const Piece& piece : pieces[pass]) {
      const bool is_product = piece.tensor_call != TensorCall::none;
      forms[pass].push_back({.is_core = piece.is_core(),
                             .backward = piece.backward,
                             .ring = piece.is_core() ? ring_of(piece) : std::vector<RingRow>(),
                             .tensor_call = piece.tensor_call,
                             .parts = static_cast<std::int16_t>(is_product ? piece.blocks.size() : 0)});
    }
  }
  return forms;
}

/// A norm that is computed again reads what comes back.
void add_offload(const Scenario& scenario, std::size_t layer, LayerForm& form) {
  const Offload& offload = scenario.offload;
  if (offload.is_none()) return;
  const auto takes = [&](auto... modules) { return (offload.takes(modules) || ...); };
  using enum OffloadModule;
  const bool is_whole = offload.takes_whole(layer);
  form.offloads_attention = is_whole || takes(attn_norm, qkv_linear, core_attn, attn_proj, mlp_norm);
  form.offloads_feed_forward =
      is_whole || (scenario.model.layers[layer].is_moe && takes(expert_fc1, moe_act));
  form.norm_first = takes(mlp_norm) && scenario.recompute.again(NormOf::stream);
}

}  // namespace

LayerForm form_of(const Scenario& scenario, std::size_t layer, const BlockPieces& attention,
                  const BlockPieces& feed_forward) {
  const Layer& shape = scenario.model.layers[layer];
  const Sizes& sizes = scenario.layout.sizes();
  const Recompute recompute = scenario.recompute_of(layer);
  const bool module_again = recompute.full || (shape.is_moe ? recompute.moe : recompute.mlp);
  LayerForm form{.exchanges = shape.is_moe && sizes.expert > 1,
                 .gathers_tokens = scenario.collectives.token_exchange == TokenExchange::all_gather,
                 .divides_experts = shape.is_moe && sizes.expert_tensor > 1,
                 .divides_layers = sizes.tensor > 1,
                 .divides_tokens = scenario.divides_tokens(),
                 .divides_sequences = sizes.context > 1,
                 .again = recompute.full,
                 .feed_forward_again = module_again || (shape.is_moe && recompute.shared_experts),
                 .experts_again = module_again || recompute.experts,
                 .results_again = module_again,
                 .heads = 1 + scenario.model.prediction_layers};
  form.divides_feed_forward = form.divides_layers && (!shape.is_moe || shape.experts.shared_width > 0);
  form.shared_beside = form.exchanges && sizes.tensor == 1 && shape.experts.shared_width > 0 &&
                       scenario.collectives.shared_experts == SharedExperts::beside;
  form.overlaps_tensor =
      form.divides_layers && scenario.habits().tensor_backward == TensorBackward::overlapped;
  form.weights_in_turn = !scenario.habits().delays_weights;
  form.gathers_again = form.divides_layers && form.divides_tokens && !scenario.software->keeps_gathered();
  add_offload(scenario, layer, form);
  form.pieces = forms_of(attention);
  form.feed_forward_pieces = forms_of(feed_forward);
  return form;
}

}  // namespace moesim
