#include "sim/explain/explain.hpp"

#include <algorithm>
#include <mutex>

#include "models/base/error.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/in_parallel.hpp"
#include "sim/run/simulate.hpp"
#include "sim/run/source.hpp"
#include "sim/write/comparison.hpp"

namespace moesim {
namespace {

/// One run, of which a failure is a result.
struct Outcome {
  std::optional<Report> report;
  std::string error;
};

/// With `sets` on top of what holds for every run.
Outcome run(const Source& source, std::vector<Override> overrides, const std::vector<Override>& sets) {
  overrides.insert(overrides.end(), sets.begin(), sets.end());
  try {
    const Scenario scenario = read_scenario(source.load(overrides));
    return {simulate_step(scenario).report, {}};
  } catch (const InputError& error) {
    return {{}, error.what()};
  } catch (const RunError& error) {
    return {{}, error.what()};
  }
}

double gain_of(const Report& report, const Report& base) {
  return 1 - to_seconds(report.step_time) / to_seconds(base.step_time);
}

/// Tells of progress from whichever thread has done something.
class Progress {
 public:
  Progress(const ExplainRequest& request, std::size_t all) : request_(request), all_(all) {}
  void more(std::size_t count) { all_ += count; }
  void done() {
    const std::lock_guard lock(mutex_);
    ++done_;
    if (request_.progress) request_.progress(done_, all_);
  }

 private:
  const ExplainRequest& request_;
  std::size_t all_, done_ = 0;
  std::mutex mutex_;
};

/// Those of which pairs are tried: the best settings that fit, a few, and no two of one key.
constexpr std::size_t paired = 6;
constexpr double worth_pairing = 0.003;

std::vector<std::size_t> best_settings(const std::vector<TriedChange>& changes) {
  std::vector<std::size_t> best;
  for (std::size_t i = 0; i < changes.size() && best.size() < paired; ++i) {
    const TriedChange& one = changes[i];
    if (one.change.kind != ChangeKind::setting || !one.report || !fits(*one.report)) continue;
    if (one.gain < worth_pairing) break;
    const bool is_new = std::none_of(best.begin(), best.end(), [&](std::size_t other) {
      return changes[other].change.sets.front().key == one.change.sets.front().key;
    });
    if (is_new) best.push_back(i);
  }
  return best;
}

void try_pairs(const Source& source, const ExplainRequest& request, Progress& progress, Explanation& all) {
  const std::vector<std::size_t> best = best_settings(all.changes);
  std::vector<TriedPair> pairs;
  for (std::size_t i = 0; i < best.size(); ++i)
    for (std::size_t k = i + 1; k < best.size(); ++k)
      pairs.push_back({.first = best[i], .second = best[k], .report = {}, .error = {}});
  progress.more(pairs.size());
  in_parallel(pairs.size(), request.jobs, [&](std::size_t i, std::size_t) {
    TriedPair& pair = pairs[i];
    std::vector<Override> sets = all.changes[pair.first].change.sets;
    const std::vector<Override>& more = all.changes[pair.second].change.sets;
    sets.insert(sets.end(), more.begin(), more.end());
    Outcome outcome = run(source, request.overrides, sets);
    pair.report = std::move(outcome.report);
    pair.error = std::move(outcome.error);
    if (pair.report) pair.gain = gain_of(*pair.report, all.base);
    progress.done();
  });
  std::erase_if(pairs, [&](const TriedPair& pair) {
    const double alone = std::max(all.changes[pair.first].gain, all.changes[pair.second].gain);
    return !pair.report || !fits(*pair.report) || pair.gain <= alone + worth_pairing / 3;
  });
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const TriedPair& a, const TriedPair& b) { return a.gain > b.gain; });
  all.pairs = std::move(pairs);
}

}  // namespace

Explanation explain(const ExplainRequest& request) {
  const Source source = Source::of(request.path);
  const Value document = source.load(request.overrides);
  if (request.sees_files) request.sees_files(files_needed(document));
  const Scenario scenario = read_scenario(document);
  if (scenario.fixed || scenario.communication)
    throw InputError(source.origin, "has no training step that could be explained: it has no model");
  Explanation all{.about = scenario.about,
                  .title = title_of(document),
                  .scenario = one_line(whole_document(document)),
                  .base = simulate(scenario, request.jobs).report,
                  .changes = {},
                  .pairs = {}};
  for (Change& change : changes_of(document, scenario))
    all.changes.push_back({.change = std::move(change), .report = {}, .error = {}});
  Progress progress(request, all.changes.size());
  in_parallel(all.changes.size(), request.jobs, [&](std::size_t i, std::size_t) {
    TriedChange& tried = all.changes[i];
    Outcome outcome = run(source, request.overrides, tried.change.sets);
    tried.report = std::move(outcome.report);
    tried.error = std::move(outcome.error);
    if (tried.report) tried.gain = gain_of(*tried.report, all.base);
    progress.done();
  });
  std::stable_sort(all.changes.begin(), all.changes.end(), [](const TriedChange& a, const TriedChange& b) {
    if (a.report.has_value() != b.report.has_value()) return a.report.has_value();
    return a.report && a.gain > b.gain;
  });
  try_pairs(source, request, progress, all);
  return all;
}

}  // namespace moesim
