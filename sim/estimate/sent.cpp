// What the passes of a layer send, and what that takes alone on the fabric: PassLowering in closed form.
#include <algorithm>

#include "sim/estimate/costs.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

double count(Bytes bytes) { return static_cast<double>(bytes.count); }

}  // namespace

SearchTables::Shared SearchTables::shared(const DivisionGroups& groups) {
  const Collective& collective = *scenario_.collectives.tensor;
  const bool parts = scenario_.divides_tokens();
  const Operation reduce = parts ? Operation::reduce_scatter : Operation::all_reduce;
  const double bytes =
      count(size_of(Precision::bf16) * (share_of(scenario_).tokens() * scenario_.model.hidden));
  return {.before = parts ? traffic_.seconds(groups.tensor, Operation::all_gather, collective, bytes) : 0,
          .after = traffic_.seconds(groups.tensor, reduce, collective, bytes)};
}

/// What embedding and head send: PassLowering's ends of passes. A forward beside a backward has half of it in
/// either pass.
void SearchTables::add_sent_at_ends(const DivisionGroups& groups, LayerCost& embedding, LayerCost& head) {
  const auto [before, after] = shared(groups);
  const auto predictions = static_cast<double>(scenario_.model.prediction_layers);
  embedding.forward_sent += after;
  embedding.backward_sent += before;
  embedding.after_attention += (before + after) / 2;
  const double forward = (1 + predictions) * before + predictions * after;
  const double backward = (1 + predictions) * (after + before) + predictions * before;
  head.forward_sent += forward;
  head.backward_sent += backward;
  head.after_attention += (forward + backward) / 2;
}

/// What goes from stage to stage: Step::send_pattern and what PassLowering gathers of it.
void SearchTables::add_sends(const DivisionGroups& groups, MicrobatchCost& cost) {
  const Collectives& all = scenario_.collectives;
  cost.send = traffic_.seconds(groups.send, Operation::point_to_point, *all.pipeline,
                               count(sent_to_stage(scenario_)));
  if (!scatters_sends(scenario_)) return;
  const double whole =
      count(size_of(Precision::bf16) * (share_of(scenario_).tokens() * scenario_.model.hidden));
  cost.gather_sent = traffic_.seconds(groups.tensor, Operation::all_gather, *all.tensor, whole);
}

/// What passes of a layer send besides keys and values.
void SearchTables::add_sent(std::size_t number, const DivisionGroups& groups, LayerCost& cost) {
  const Layer& shape = scenario_.model.layers[number];
  const auto [before, after] = shared(groups);
  cost.before_attention = before;
  cost.after_attention = after;
  const bool shares = !shape.is_moe || shape.experts.shared_width > 0;
  if (shares) cost.before_experts = before;
  if (shares) cost.after_experts = after;
  cost.again = (shares ? 2 : 1) * before;  // for weight gradients
  if (scenario_.recompute.full) cost.again += (shares ? 2 : 1) * (before + after);
  if (scenario_.collectives.tensor_backward == TensorBackward::overlapped) {
    // PassLowering::shared_backward: a sum beside a weight gradient, that gather beside an input gradient.
    const auto beside = [&, before = before, after = after](double input, double weight) {
      return std::min(after, weight) + std::min(before, input);
    };
    const bool whole = scenario_.layout.sizes().context == 1;
    if (whole) cost.hidden += beside(cost.attention_input, cost.attention_weight);
    if (shares)
      cost.hidden +=
          beside(cost.backward_input - cost.attention_input, cost.backward_weight - cost.attention_weight);
  }
  if (shape.is_moe) add_exchanged(number, groups, cost);
  const double sent = cost.before_attention + cost.after_attention + cost.before_experts +
                      cost.after_experts + cost.dispatch + cost.combine;
  cost.forward_sent += sent;
  cost.backward_sent += sent + cost.again;
}

/// The same of its experts.
void SearchTables::add_exchanged(std::size_t number, const DivisionGroups& groups, LayerCost& cost) {
  const Layer& shape = scenario_.model.layers[number];
  const auto rows = static_cast<double>(dispatched_rows(scenario_, number));
  const bool padded = padded_capacity(scenario_, shape) > 0;
  cost.dispatch = traffic_.exchange(groups.expert, shape.experts, true, rows, padded);
  cost.combine = traffic_.exchange(groups.expert, shape.experts, false, rows, padded);
  double before = 0;
  double after = 0;
  if (scenario_.layout.sizes().expert_tensor > 1) {
    const Collective& collective = *scenario_.collectives.expert_tensor;
    const auto computed =
        static_cast<double>(computed_rows(scenario_, number)) * scenario_.busiest_over_mean();
    const auto whole = [&](Precision precision) {
      return computed * count(row_bytes(scenario_.model.hidden, precision));
    };
    const bool parts = scenario_.divides_tokens();
    const Operation reduce = parts ? Operation::reduce_scatter : Operation::all_reduce;
    if (parts)
      before = traffic_.seconds(groups.expert_tensor, Operation::all_gather, collective,
                                whole(scenario_.precision.dispatch));
    after = traffic_.seconds(groups.expert_tensor, reduce, collective, whole(scenario_.precision.combine));
  }
  cost.before_experts += before;
  cost.after_experts += after;
  if (scenario_.recompute.full || scenario_.recompute.experts) cost.again += cost.dispatch + before;
  if (scenario_.recompute.full) cost.again += after + cost.combine;
}

/// Keys and values beyond what the attention beside them hides (docs/model.md, ways to divide a layer).
void SearchTables::add_context(const BlockCost& attention, const DivisionGroups& groups, LayerCost& cost) {
  const Collective& collective = *scenario_.collectives.context;
  const auto n = static_cast<double>(scenario_.layout.sizes().context);
  for (const Core& core : attention.cores) {
    const double bytes = count(core.piece.keys_and_values);
    double extra = 0;
    double all = 0;
    if (scenario_.context_exchange == ContextExchange::all_gather) {
      extra = traffic_.seconds(groups.context, Operation::all_gather, collective, bytes * n);
      if (core.piece.backward)
        extra += traffic_.seconds(groups.context, Operation::reduce_scatter, collective, bytes * n);
      all = extra;
    } else {
      const double send = traffic_.seconds(groups.context, Operation::point_to_point, collective, bytes);
      for (std::size_t block = 0; block < core.piece.blocks.size(); ++block) {
        const double sent = static_cast<double>(core.piece.sends_beside(block)) * send;
        extra += std::max(0.0, sent - to_seconds(core.piece.blocks[block].time));
        all += sent;
      }
    }
    (core.pass == 0 ? cost.forward_sent : cost.backward_sent) += extra;
    (core.pass == 0 ? cost.context_forward : cost.context_backward) += all;
  }
}

}  // namespace moesim
