#include "sim/report/steps.hpp"

#include <algorithm>
#include <array>

#include "models/base/at.hpp"
#include "sim/report/block_shares.hpp"

namespace moesim {
namespace {

/// Seconds by LayerPart.
using PartSeconds = std::array<double, layer_part_count>;

/// Seconds of compute over all devices.
struct Compute {
  PartSeconds forward{}, backward{};
  double loss = 0, loss_backward = 0, copies = 0, optimizer = 0;
};

void add(const WorkTimes& times, const Tag& tag, double seconds, Compute& sum) {
  const bool forward = tag.pass == PassKind::forward;
  PartSeconds& parts = forward ? sum.forward : sum.backward;
  switch (tag.activity) {
    case Activity::attention:
    case Activity::feed_forward: {
      const PartShares& shares = shares_of(times, tag).parts;
      for (std::size_t part = 0; part < layer_part_count; ++part) parts[part] += seconds * shares[part];
      return;
    }
    case Activity::embedding:
      at(parts, LayerPart::attention) += seconds;
      return;
    case Activity::head:
      (forward ? sum.loss : sum.loss_backward) += seconds;
      return;
    case Activity::copy:
      sum.copies += seconds;
      return;
    default:
      sum.optimizer += seconds;
  }
}

Compute compute_of(const Work& work, const TaskGraph& graph, const Timeline& timeline) {
  Compute sum;
  for (std::size_t task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] != TaskKind::compute) continue;
    add(*work.times, graph.tags[task],
        graph.devices_of(graph.actors[task]) * to_seconds(timeline.ends[task] - timeline.starts[task]), sum);
  }
  return sum;
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
    for (const Activity activity : communications) {
      if (!at(claimed_, activity) && at(report_.communications, activity).messages > 0)
        add(name_of(activity), "", 0, activity);
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
  if (sum.copies > 0) rows.add("gradients", "copies", sum.copies);
  rows.add("gradients", "optimizer", sum.optimizer);
  rows.add("gradients", "parameters", 0, Activity::parameter);
  return std::move(rows).finish();
}

}  // namespace moesim
