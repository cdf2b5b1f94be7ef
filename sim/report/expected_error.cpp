// How far a measured step may be from the simulated one.
#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "sim/report/error_model.hpp"

namespace moesim {
namespace {

/// d ln(step) / d ln(times) of each factor, and the share of the step that has any.
struct Sensitivities {
  std::vector<double> of_factors;
  double known = 0;
};

/// Shares of the path add up to the step.
double seconds_of(const std::vector<CriticalStep>& path) {
  Time all;
  for (const CriticalStep& step : path) all += step.share;
  return to_seconds(all);
}

Sensitivities sensitivities(ErrorModel& model, const TaskGraph& graph,
                            const std::vector<CriticalStep>& path) {
  const double whole = seconds_of(path);
  Sensitivities found;
  const auto add = [&](const std::vector<FactorId>& factors, double share) {
    found.of_factors.resize(model.factors().size());
    for (const FactorId factor : factors) found.of_factors[factor] += share;
  };
  for (const CriticalStep& step : path) {
    if (step.share.count == 0) continue;
    const double share = to_seconds(step.share) / whole;
    for (const ErringPart& part : model.parts_of(graph, step.task)) {
      add(part.factors, share * part.share);
      if (!part.factors.empty()) found.known += share * part.share;
    }
  }
  add(model.of_step(), 1);
  if (!model.of_step().empty()) found.known = 1;
  return found;
}

std::vector<ErrorSource> sources_of(const ErrorModel& model, const std::vector<double>& sensitivities) {
  std::map<std::string, double> variances;
  for (std::size_t i = 0; i < sensitivities.size(); ++i) {
    const ErrorFactor& factor = model.factors()[i];
    variances[factor.of] += std::pow(sensitivities[i] * factor.deviation, 2);
  }
  std::vector<ErrorSource> sources;
  for (const auto& [of, variance] : variances)
    if (variance > 0) sources.push_back({of, std::sqrt(variance)});
  std::stable_sort(sources.begin(), sources.end(),
                   [](const ErrorSource& a, const ErrorSource& b) { return a.deviation > b.deviation; });
  return sources;
}

}  // namespace

std::optional<ExpectedError> expected_error(const Work& work, const TaskGraph& graph,
                                            const std::vector<CriticalStep>& path,
                                            const Certainty& certainty) {
  if (!work.scenario.cluster || certainty.families.empty()) return std::nullopt;
  ErrorModel model(work, certainty);
  const Sensitivities found = sensitivities(model, graph, path);
  ExpectedError error;
  error.sources = sources_of(model, found.of_factors);
  error.known_share = found.known;
  // Bars of what is mostly unknown would be too short.
  if (error.sources.empty() || error.known_share < 0.5) return std::nullopt;
  for (const ErrorSource& source : error.sources) error.deviation += source.deviation * source.deviation;
  error.deviation = std::sqrt(error.deviation);
  const double step = seconds_of(path);
  error.low = from_seconds(step * std::exp(-bar_reach() * error.deviation));
  error.high = from_seconds(step * std::exp(bar_reach() * error.deviation));
  return error;
}

}  // namespace moesim
