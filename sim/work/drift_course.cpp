#include "sim/work/drift_course.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "models/base/at.hpp"
#include "models/routing/expert_moves.hpp"
#include "sim/work/expert_loads.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

double busiest(const std::vector<double>& load, const ExpertPlacement& placement) {
  const std::vector<double> ranks = rank_loads(load, placement);
  return *std::max_element(ranks.begin(), ranks.end());
}

}  // namespace

void CourseStep::become(Scenario& scenario) const {
  scenario.router.skew = skew;
  scenario.placed = placed;
  scenario.router.step = scenario.faults.step = static_cast<std::uint64_t>(number);
}

DriftCourse::DriftCourse(const Scenario& scenario)
    : scenario_(scenario),
      nodes_(even_nodes(scenario)),
      is_drawn_(scenario.router.routing->draws() || scenario.faults.jitter.deviation > 0) {
  const Router& router = scenario.router;
  const Random random(router.seed);
  for (std::size_t layer = 0; layer < scenario.model.layers.size(); ++layer) {
    if (!scenario.model.layers[layer].is_moe) continue;
    const auto number = static_cast<std::int64_t>(layer);
    const Gate gate = gate_of(scenario.model.layers[layer].experts);
    numbers_.push_back(number);
    layers_.emplace_back(scenario.drift->drift, gate,
                         router.skew->popularity(gate.experts, number, 0, random), random, number);
  }
}

std::shared_ptr<const LayerPopularity> DriftCourse::popularity() const {
  auto all = std::make_shared<LayerPopularity>(scenario_.model.layers.size());
  for (std::size_t i = 0; i < layers_.size(); ++i) at(*all, numbers_[i]) = layers_[i].popularity();
  return all;
}

/// The mean over the window, as the router balances it.
std::vector<double> DriftCourse::known_load(std::int64_t layer) const {
  LayerPopularity mean(scenario_.model.layers.size());
  std::vector<double>& sum = at(mean, layer);
  sum.assign(at(*window_.front(), layer).size(), 0.0);
  for (const auto& step : window_) {
    const std::vector<double>& shares = at(*step, layer);
    std::transform(sum.begin(), sum.end(), shares.begin(), sum.begin(), std::plus<>());
  }
  for (double& share : sum) share /= static_cast<double>(window_.size());
  Router router = scenario_.router;
  router.skew = skew_of_step(std::make_shared<const LayerPopularity>(std::move(mean)));
  return router.popularity(gate_of(at(scenario_.model.layers, layer).experts), layer, 0);
}

/// A layer keeps its placement where no other is known to be better.
void DriftCourse::place_anew(CourseStep& step) {
  const bool keeps = scenario_.drift->rebalance.keeps_places;
  Placements placements(scenario_.model.layers.size());
  bool moves = false;
  for (const std::int64_t layer : numbers_) {
    const std::vector<double> load = known_load(layer);
    ExpertPlacement placement = place_by_load(scenario_, load, layer, nodes_);
    if (placed_) {
      const ExpertPlacement& before = at(*placed_, layer);
      if (busiest(load, before) <= busiest(load, placement)) {
        placement = before;
      } else {
        if (keeps) placement = keeping_places(before, placement, nodes_);
        moves = true;
      }
    }
    at(placements, layer) = std::move(placement);
  }
  if (placed_ && !moves) return;
  if (placed_) step.moves = moving_flows(scenario_, *placed_, placements);
  placed_ = std::make_shared<const Placements>(std::move(placements));
}

CourseStep DriftCourse::next() {
  const Rebalance& rebalance = scenario_.drift->rebalance;
  const std::int64_t number = steps_++;
  CourseStep step{.number = number, .skew = {}, .placed = {}, .moves = {}};
  for (DriftingLayer& layer : layers_) {
    if (number > 0) layer.advance();
  }
  const std::shared_ptr<const LayerPopularity> last = std::exchange(current_, popularity());
  const bool is_same = last && *last == *current_;
  if (is_same) current_ = last;
  const std::shared_ptr<const Placements> before = placed_;
  if (scenario_.placement != Placement::in_order) {
    const bool foresees = rebalance.window == 0;
    if (number == 0 || foresees) window_.assign(1, current_);
    if (number == 0 || (rebalance.every > 0 && number % rebalance.every == 0)) place_anew(step);
    if (number > 0 && !foresees) window_.push_back(current_);
    if (!foresees && std::ssize(window_) > rebalance.window) window_.pop_front();
  }
  step.placed = placed_;
  step.is_as_before = is_same && before == placed_ && !is_drawn_;
  step.skew = skew_of_step(current_);
  return step;
}

}  // namespace moesim
