#include "sim/layer/acts.hpp"

#include <algorithm>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/work/share.hpp"
#include "sim/work/tensors.hpp"

namespace moesim {
namespace {

const BlockPieces& pieces_of(Activity block, const LayerTimes& times) {
  return block == Activity::feed_forward ? times.feed_forward_pieces : times.pieces;
}

const Piece& piece_of(const Act& act, Activity block, const LayerTimes& times) {
  return at(pieces_of(block, times), act.pass)[static_cast<std::size_t>(act.piece)];
}

}  // namespace

Timed timed_of(const Act& act, const LayerTimes& times, const BlockTimes& feed_forward) {
  const Timed& shared = times.shared_experts.in(act.pass);
  if (act.piece == shared_experts_piece) return shared;
  const Timed& whole = feed_forward.in(act.pass);
  return act.piece == other_experts_piece ? without(whole, shared) : whole;
}

Timed timed_of(const Act& act, const LayerTimes& times) {
  const bool is_cut = act.piece >= 0 && !at(pieces_of(act.activity, times), act.pass).empty();
  if (!is_cut && act.activity == Activity::feed_forward) return timed_of(act, times, times.feed_forward);
  if (!is_cut) return times.attention.in(act.pass);
  const Piece& piece = piece_of(act, act.activity, times);
  if (act.blocks == 0) return piece.timed;
  const Timed& block = at(piece.blocks, act.first_block);
  HostPath host;
  for (std::int16_t i = 0; i < act.blocks; ++i) host += at(piece.blocks, act.first_block + i).host;
  return {block.time * act.blocks, block.slowdown, block.communication, host};
}

Time host_of_weights(const Act& act, const Scenario& scenario, std::int64_t layer) {
  const Time each = scenario.habits().host.weight;
  if (each.count == 0 || act.piece > 0 || act.piece == other_experts_piece || act.first_block > 0) return {};
  return each * block_tensors(scenario, act.activity, layer).count();
}

/// In a backward a part is a call of autograd of its own: with its events it took 104 us more than the same
/// part of one graph did (where forward was 30 us), two and a half launches beside the events. Of gradients
/// of weights alone no part of the graph is left.
Time host_of_node(const Issued& issued, const Program& program, const Scenario& scenario) {
  const HostTimes& host = scenario.habits().host;
  if (host.node.count == 0 || !issued.segment || program.of(issued.segment).empty()) return {};
  if (*issued.segment == Segment::feed_forward_weight || *issued.segment == Segment::attention_weight)
    return {};
  return host.node + (issued.is_backward ? host.backward * 5 / 2 : Time{});
}

namespace {

/// Tokens of a group to each of its ranks, or home. Beside each go its weight for every expert in fp32 and
/// whether it is for that expert, in a byte; with its gradient the former's (Megatron-LM,
/// core/transformer/moe/token_dispatcher.py: MoEAllGatherTokenDispatcher).
Bytes bytes_of_gathered(const Act& call, const Scenario& scenario, std::size_t layer) {
  const bool is_out = is_outward(call.activity);
  const std::int64_t weights = call.activity == Activity::dispatch            ? 4 + 1
                               : call.activity == Activity::dispatch_backward ? 4
                                                                              : 0;
  const Precision precision = is_out ? scenario.precision.dispatch : scenario.precision.combine;
  const Bytes token = row_bytes(scenario.model.hidden, precision) +
                      Bytes{weights} * scenario.model.layers[layer].experts.count;
  return token * (tokens_per_device(scenario, layer) * scenario.layout.sizes().expert);
}

}  // namespace

CallBytes bytes_of(const Act& call, const Scenario& scenario, std::int64_t layer, const LayerTimes& times,
                   std::int64_t computed_rows) {
  const std::int64_t hidden = scenario.model.hidden;
  switch (call.activity) {
    case Activity::context: {
      const Bytes each = piece_of(call, Activity::attention, times).keys_and_values;
      if (call.operation == Operation::point_to_point) return {each * call.sends, call.blocks};
      return {each * scenario.layout.sizes().context};
    }
    case Activity::expert_tensor: {
      const Precision precision =
          call.operation == Operation::all_gather ? scenario.precision.dispatch : scenario.precision.combine;
      const std::int64_t gathered = gathered_tokens(scenario, static_cast<std::size_t>(layer));
      return {row_bytes(hidden, precision) * (gathered > 0 ? gathered : computed_rows)};
    }
    case Activity::dispatch:
    case Activity::combine:
    case Activity::dispatch_backward:
    case Activity::combine_backward:
      return {bytes_of_gathered(call, scenario, static_cast<std::size_t>(layer))};
    default: {
      ensure(call.activity == Activity::tensor, "a communication inside a layer has bytes");
      const Share share =
          layer < 0 ? share_of(scenario) : share_of(scenario, static_cast<std::size_t>(layer));
      const Bytes all = size_of(Precision::bf16) * (share.tokens() * hidden);
      return {call.parts == 0 ? all : all * call.blocks / call.parts};
    }
  }
}

bool host_reads_counts(const Act& call, const Scenario& scenario) {
  if (call.activity != Activity::dispatch || scenario.habits().host.is_none()) return false;
  return scenario.habits().waits_in_dispatch || scenario.collectives.dispatch->host_waits();
}

const Collective& collective_of(const Collectives& collectives, Activity activity) {
  switch (scope_of(activity)) {
    case Scope::expert:
      return is_outward(activity) ? *collectives.dispatch : *collectives.combine;
    case Scope::context:
      return *collectives.context;
    case Scope::expert_tensor:
      return *collectives.expert_tensor;
    default:
      return *collectives.tensor;
  }
}

ModelPrograms::ModelPrograms(const Scenario& scenario, const WorkTimes& times) {
  std::vector<LayerForm> forms;
  for (std::size_t layer = 0; layer < scenario.model.layers.size(); ++layer) {
    const LayerTimes& of_layer = times.layer(static_cast<std::int64_t>(layer));
    LayerForm form = form_of(scenario, layer, of_layer.pieces, of_layer.feed_forward_pieces);
    auto known = std::find(forms.begin(), forms.end(), form);
    program_of_layer_.push_back(static_cast<std::size_t>(known - forms.begin()));
    if (known != forms.end()) continue;
    layers_.push_back(programs_of_layer(form));
    forms.push_back(std::move(form));
  }
  embedding_ = programs_of_embedding(forms.front());
  head_ = programs_of_head(forms.front());
}

}  // namespace moesim
