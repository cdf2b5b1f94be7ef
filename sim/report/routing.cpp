// How tokens were spread over experts, layer by layer and microbatch by microbatch.
#include <algorithm>
#include <cmath>
#include <functional>

#include "models/base/at.hpp"
#include "models/routing/balance.hpp"
#include "sim/report/report.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

/// Where buffers are padded, all ranks are alike, and what is dropped is only counted: from so many choices,
/// taken from all layers and microbatches in equal steps.
constexpr std::int64_t most_choices_counted = 8'000'000;

/// One layer and microbatch of one expert group.
struct RoutedPlace {
  std::int64_t layer, microbatch, group;
};

double max_over_mean_of(const std::vector<std::int64_t>& rows) {
  return max_over_mean(std::vector<double>(rows.begin(), rows.end()));
}

/// Sums over the places that it is shown.
class Tally {
 public:
  explicit Tally(const Work& work)
      : scenario_(work.scenario), differing_(work.loads.get()), of_layers_(scenario_.model.layers.size()) {}

  void add(const RoutedPlace& place) {
    const Layer& layer = at(scenario_.model.layers, place.layer);
    const std::int64_t ranks = scenario_.layout.sizes().expert;
    ++places_;
    choices_ += ranks * tokens_of(place) * layer.experts.top_k;
    if (differing_ != nullptr) {
      const std::uint32_t number = differing_->number_of(place.layer, place.microbatch, place.group);
      count(differing_->counts(number), place.layer);
    } else {
      count(routed(place, layer.experts), place.layer);
    }
  }

  RoutingReport report() const {
    const auto share = [](auto part, auto whole) {
      return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
    };
    return {.load_max_over_mean = experts_max_over_mean_ / places_,
            .rank_load_max_over_mean = ranks_max_over_mean_ / places_,
            .dropped_token_fraction = share(dropped_, choices_),
            .padded_row_fraction = share(sent_ - kept_, sent_),
            .least = least_ * gathered_,
            .most = most_ * gathered_,
            .mean = share(kept_ * gathered_, experts_),
            .busiest = busiest(),
            .imbalance_cost = std::nullopt};
  }

 private:
  /// Where all ranks get the same rows, so that nobody has counted them.
  LoadCounts routed(const RoutedPlace& place, const Experts& experts) {
    const std::int64_t ranks = scenario_.layout.sizes().expert;
    scenario_.router.fill(loads_, gate_of(experts), place.layer, place.microbatch, place.group, ranks,
                          tokens_of(place));
    return {.of_experts = loads_.of_experts(),
            .of_ranks = {1},
            .dropped = loads_.dropped,
            .kept = loads_.total(),
            .sent = loads_.capacity > 0 ? ranks * loads_.capacity * loads_.experts : loads_.total()};
  }

  /// Of a rank.
  std::int64_t tokens_of(const RoutedPlace& place) const {
    return tokens_per_device(scenario_, static_cast<std::size_t>(place.layer));
  }

  void count(const LoadCounts& counts, std::int64_t layer) {
    count_experts(counts.of_experts, layer);
    ranks_max_over_mean_ += max_over_mean_of(counts.of_ranks);
    dropped_ += counts.dropped;
    kept_ += counts.kept;
    sent_ += counts.sent;
  }

  void count_experts(const std::vector<std::int64_t>& rows, std::int64_t layer) {
    const auto [least, most] = std::minmax_element(rows.begin(), rows.end());
    least_ = experts_ == 0 ? *least : std::min(least_, *least);
    most_ = std::max(most_, *most);
    experts_ += static_cast<std::int64_t>(rows.size());
    experts_max_over_mean_ += max_over_mean_of(rows);
    std::vector<std::int64_t>& sums = at(of_layers_, layer);
    sums.resize(rows.size());
    std::transform(sums.begin(), sums.end(), rows.begin(), sums.begin(), std::plus<>());
  }

  std::vector<BusiestExpert> busiest() const {
    std::vector<BusiestExpert> all;
    for (std::size_t layer = 0; layer < of_layers_.size(); ++layer) {
      const std::vector<std::int64_t>& sums = of_layers_[layer];
      if (sums.empty()) continue;
      all.push_back({.layer = static_cast<std::int64_t>(layer),
                     .expert = std::max_element(sums.begin(), sums.end()) - sums.begin(),
                     .load_max_over_mean = max_over_mean_of(sums)});
    }
    return all;
  }

  const Scenario& scenario_;
  const ExpertLoads* differing_;                        // where ranks differ
  std::int64_t gathered_ = gathered_groups(scenario_);  // expert groups whose tokens an expert computes
  Loads loads_;
  std::vector<std::vector<std::int64_t>> of_layers_;  // tokens of experts
  double places_ = 0, experts_max_over_mean_ = 0, ranks_max_over_mean_ = 0;
  std::int64_t experts_ = 0, choices_ = 0, dropped_ = 0, sent_ = 0, kept_ = 0, least_ = 0, most_ = 0;
};

/// All places whose loads may differ.
std::vector<RoutedPlace> places_of(const Work& work) {
  const Scenario& scenario = work.scenario;
  const bool varies = scenario.router.varies();
  const std::int64_t groups = varies && work.loads != nullptr ? work.loads->groups() : 1;
  std::vector<RoutedPlace> places;
  for (std::size_t layer = 0; layer < scenario.model.layers.size(); ++layer) {
    if (!scenario.model.layers[layer].is_moe) continue;
    for (std::int64_t microbatch = 0; microbatch < (varies ? scenario.microbatches() : 1); ++microbatch) {
      for (std::int64_t group = 0; group < groups; ++group)
        places.push_back({static_cast<std::int64_t>(layer), microbatch, group});
    }
  }
  return places;
}

std::optional<RoutingReport> counted(const Work& work) {
  const Scenario& scenario = work.scenario;
  const std::vector<RoutedPlace> places = places_of(work);
  if (places.empty()) return std::nullopt;
  const Experts& experts = at(scenario.model.layers, places.front().layer).experts;
  const std::int64_t choices = scenario.layout.sizes().expert * tokens_per_device(scenario) * experts.top_k;
  const auto all = static_cast<std::int64_t>(places.size());
  const std::int64_t count =
      work.loads != nullptr ? all : std::clamp(most_choices_counted / choices, std::int64_t{1}, all);
  Tally tally(work);
  for (std::int64_t i = 0; i < count; ++i) tally.add(at(places, i * all / count));
  return tally.report();
}

/// Every expert gets its even share; with `spread` every rank the rows of the busiest.
RoutingReport even(const Scenario& scenario, std::size_t layer) {
  const std::int64_t slots = scenario.slots_per_rank(scenario.model.layers[layer].experts);
  const std::int64_t rows = computed_rows(scenario, layer);
  RoutingReport routing;
  routing.load_max_over_mean = scenario.busiest_over_mean();
  routing.rank_load_max_over_mean = routing.load_max_over_mean;
  routing.mean = static_cast<double>(rows) / static_cast<double>(slots);
  const auto of_rank = [&](double over_mean) -> std::int64_t {
    return std::llround(static_cast<double>(rows) * over_mean);
  };
  routing.most = (of_rank(routing.load_max_over_mean) + slots - 1) / slots;
  routing.least = of_rank(std::max(0.0, 2 - routing.load_max_over_mean)) / slots;
  return routing;
}

}  // namespace

std::optional<RoutingReport> routing_of(const Work& work) {
  const Scenario& scenario = work.scenario;
  for (std::size_t i = 0; i < scenario.model.layers.size(); ++i) {
    const Layer& layer = scenario.model.layers[i];
    if (!layer.is_moe) continue;
    const bool drops = padded_capacity(scenario, i) > 0 || kept_choices(scenario, i) < 1;
    if (work.loads != nullptr || drops) return counted(work);
    return even(scenario, i);
  }
  return std::nullopt;
}

}  // namespace moesim
