#include "sim/report/steps.hpp"

#include <algorithm>
#include <array>

#include "models/base/at.hpp"
#include "sim/work/share.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {
namespace {

using Parts = std::array<double, layer_part_count>;

/// Shares of the parts in the time of some ops of a block; all of it the block's where they take none.
Parts split(const std::vector<Op>& ops, LayerPart block, const Scenario& scenario) {
  Parts parts{};
  double sum = 0;
  for (const Op& op : ops) {
    const double time = to_seconds(time_of({op}, scenario).time);
    at(parts, op.part) += time;
    sum += time;
  }
  if (sum == 0) at(parts, block) = sum = 1;
  for (double& part : parts) part /= sum;
  return parts;
}

/// The shares of one shape of layer: [block][pass].
using Splits = std::array<std::array<Parts, 3>, 2>;

Splits splits_of_layer(const Work& work, std::size_t layer) {
  const Scenario& scenario = work.scenario;
  const LayerOps ops = ops_of_layer(scenario, layer, work.loads.get());
  Splits splits;
  for (const bool feeds : {false, true}) {
    const BlockOps& block = feeds ? ops.feed_forward : ops.attention;
    const LayerPart part = feeds ? LayerPart::feed_forward : LayerPart::attention;
    splits[feeds] = {split(block.forward, part, scenario), split(block.backward_input, part, scenario),
                     split(block.backward_weight, part, scenario)};
  }
  return splits;
}

/// Seconds of compute over all devices.
struct Compute {
  Parts forward{}, backward{};
  double loss = 0, loss_backward = 0, optimizer = 0;
};

class Sum {
 public:
  explicit Sum(const Work& work) : shape_(first_of_shape(work.scenario.model)), splits_(shape_.size()) {
    for (std::size_t layer = 0; layer < shape_.size(); ++layer) {
      if (shape_[layer] == layer) splits_[layer] = splits_of_layer(work, layer);
    }
  }

  void add(const Tag& tag, double seconds) {
    const bool forward = tag.pass == PassKind::forward;
    Parts& parts = forward ? sum_.forward : sum_.backward;
    switch (tag.activity) {
      case Activity::attention:
      case Activity::feed_forward: {
        const auto layer = at(shape_, tag.layer);
        const std::size_t pass = forward ? 0 : tag.pass == PassKind::backward_weight ? 2 : 1;
        const Parts& shares = splits_[layer][tag.activity == Activity::feed_forward][pass];
        for (std::size_t part = 0; part < layer_part_count; ++part) parts[part] += seconds * shares[part];
        return;
      }
      case Activity::embedding:
        at(parts, LayerPart::attention) += seconds;
        return;
      case Activity::head:
        (forward ? sum_.loss : sum_.loss_backward) += seconds;
        return;
      default:
        sum_.optimizer += seconds;
    }
  }

  const Compute& result() const { return sum_; }

 private:
  std::vector<std::size_t> shape_;
  std::vector<Splits> splits_;
  Compute sum_;
};

Compute compute_of(const Work& work, const TaskGraph& graph, const Timeline& timeline) {
  Sum sum(work);
  for (std::size_t task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] != TaskKind::compute) continue;
    sum.add(graph.tags[task],
            graph.devices_of(graph.actors[task]) * to_seconds(timeline.ends[task] - timeline.starts[task]));
  }
  return sum.result();
}

/// Rows in their order; a communication that no row has claimed gets one of its own.
class Rows {
 public:
  Rows(const Report& report, double devices) : report_(report), devices_(devices) {}

  void add(std::string_view step, std::string_view part, double seconds, Activity activity = Activity::none) {
    StepReport row{
        .step = std::string(step), .part = std::string(part), .compute = from_seconds(seconds / devices_)};
    if (activity != Activity::none) {
      const CommunicationReport& phase = at(report_.communications, activity);
      row.communication = phase.busy;
      row.exposed = phase.exposed;
      row.bytes = phase.bytes;
      at(claimed_, activity) = true;
    }
    rows_.push_back(std::move(row));
  }

  /// Gradients by the part of the model that they belong to, of what is exposed as much as of what is in
  /// flight.
  void add_gradients() {
    const CommunicationReport& phase = at(report_.communications, Activity::gradient);
    for (std::size_t part = 0; part < held_part_count; ++part) {
      const GradientPartReport& gradients = report_.gradient_parts[part];
      if (gradients.bytes == 0) continue;
      const double exposed = phase.busy.count == 0 ? 0 : phase.exposed / phase.busy;
      rows_.push_back({.step = "gradients",
                       .part = std::string(held_part_names[part]),
                       .compute = {},
                       .communication = gradients.busy,
                       .exposed = from_seconds(to_seconds(gradients.busy) * exposed),
                       .bytes = gradients.bytes});
    }
    at(claimed_, Activity::gradient) = true;
  }

  std::vector<StepReport> finish() && {
    for (std::size_t activity = static_cast<std::size_t>(Activity::dispatch); activity < activity_count;
         ++activity) {
      if (claimed_[activity] || report_.communications[activity].messages == 0) continue;
      add(activity_names[activity], "", 0, static_cast<Activity>(activity));
    }
    return std::move(rows_);
  }

 private:
  const Report& report_;
  double devices_;
  std::vector<StepReport> rows_;
  std::array<bool, activity_count> claimed_{};
};

}  // namespace

std::vector<StepReport> steps_of(const Work& work, const TaskGraph& graph, const Timeline& timeline,
                                 const Report& report) {
  const auto is_moe = [](const Layer& layer) { return layer.is_moe; };
  if (std::none_of(work.scenario.model.layers.begin(), work.scenario.model.layers.end(), is_moe)) return {};
  const Compute sum = compute_of(work, graph, timeline);
  const auto forward = [&](LayerPart part) { return at(sum.forward, part); };
  const auto backward = [&](LayerPart part) { return at(sum.backward, part); };
  double devices = 0;
  for (ActorId actor = 0; actor < graph.actor_count; ++actor) devices += graph.devices_of(actor);
  Rows rows(report, devices);
  rows.add("attention", "", forward(LayerPart::attention));
  rows.add("router", "", forward(LayerPart::router));
  rows.add("dispatch", "", forward(LayerPart::dispatch), Activity::dispatch);
  rows.add("experts", "", forward(LayerPart::feed_forward));
  rows.add("combine", "", forward(LayerPart::combine), Activity::combine);
  rows.add("loss", "", sum.loss);
  rows.add("backward", "loss", sum.loss_backward);
  rows.add("backward", "combine", backward(LayerPart::combine), Activity::combine_backward);
  rows.add("backward", "experts", backward(LayerPart::feed_forward));
  rows.add("backward", "dispatch", backward(LayerPart::dispatch), Activity::dispatch_backward);
  rows.add("backward", "router", backward(LayerPart::router));
  rows.add("backward", "attention", backward(LayerPart::attention));
  rows.add_gradients();
  rows.add("gradients", "optimizer", sum.optimizer);
  rows.add("gradients", "parameters", 0, Activity::parameter);
  return std::move(rows).finish();
}

}  // namespace moesim
