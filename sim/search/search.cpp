#include "sim/search/search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "models/config/values.hpp"
#include "sim/read/parts.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/plan.hpp"
#include "sim/run/in_parallel.hpp"
#include "sim/run/simulate.hpp"
#include "sim/search/choices.hpp"
#include "sim/search/own.hpp"

namespace moesim {
namespace {

/// What the search sets says so in errors.
constexpr std::string_view origin = "search";

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// What candidates have in common.
struct Common {
  Value document;
  Batch batch;
  double clock = 1;  ///< at which they are estimated
};

/// The scenario with sizes that fit any cluster and batch, so that it can be made; tables overwrite them.
Scenario base_of(const Common& common) {
  Value document = common.document;
  for (const SizeAxis& axis : size_axes) {
    if (!axis.set.empty())
      apply_override(document, {.key = std::string(axis.set), .value = value_of(1, origin)});
  }
  Value* parallelism = document.find("parallelism");
  std::erase_if(parallelism->members, [](const auto& member) { return member.first == "layers_per_stage"; });
  apply_override(document, {.key = "schedule.kind", .value = value_of("1f1b", origin)});
  const Value whole = document;
  Reader reader(whole, "");
  Reader cluster = reader.part("cluster", "devices and fabric");
  const std::int64_t devices = read_cluster(cluster).fabric.device_count();
  apply_override(document, {.key = "batch.sequences", .value = value_of(devices, origin)});
  Scenario base = read_scenario(document);
  base.batch = common.batch;
  base.clock = common.clock;
  return base;
}

Batch batch_of(const Value& document) {
  Reader reader(document, "");
  for (const char* other : {"pipeline", "communication"}) {
    if (reader.has(other))
      reader.fail(other, "leaves nothing to search: a search needs a model, a cluster and a batch");
  }
  if (reader.has("parallelism")) {
    Reader parallelism = reader.part("parallelism", "how the model is spread over devices");
    if (parallelism.has("layout"))
      parallelism.fail("layout", "decides the sizes that a search is to find", "leave it out");
  }
  return read_batch(reader.part("batch", "the work of one step"));
}

/// The document with the plan's choices.
Value with_plan(Value document, const FoundPlan& plan) {
  const auto set = [&](std::string_view key, Value value) {
    if (key.empty() || value.kind == Value::Kind::null) return;
    for (Value& item : value.items) item.origin = origin;
    value.origin = origin;
    apply_override(document, {.key = std::string(key), .value = std::move(value)});
  };
  for (const SizeAxis& axis : size_axes) set(axis.set, value_of(size_in(plan, axis)));
  for (const PlanKey& key : plan_keys()) set(key.set, key.read(plan));
  std::erase_if(document.members, [](const auto& member) { return member.first == "search"; });
  return document;
}

FoundPlan found(const SearchSpace& space, const Ranked& ranked) {
  FoundPlan plan{.number = ranked.number,
                 .sizes = ranked.sizes,
                 .microbatch = ranked.microbatch,
                 .layers_per_stage = ranked.layers_per_stage,
                 .estimated_seconds = ranked.estimate.seconds,
                 .estimated_memory = ranked.estimate.memory,
                 .report = {},
                 .error = {}};
  for (const ChoiceAxis& axis : choice_axes()) axis.find(space.choices, ranked.chosen, plan);
  return plan;
}

/// A quarter of the plans to simulate may be from the front of time against memory, in even steps from the
/// fastest to the smallest that takes at most twice as long; the others are the fastest.
std::vector<FoundPlan> chosen(const SearchSpace& space, const BestOf& best, std::size_t most) {
  std::vector<FoundPlan> plans;
  const auto add = [&](const Ranked& ranked) {
    const bool is_known = std::any_of(plans.begin(), plans.end(),
                                      [&](const FoundPlan& plan) { return plan.number == ranked.number; });
    if (!is_known && plans.size() < most) plans.push_back(found(space, ranked));
  };
  std::vector<Ranked> front = best.front();
  const double fastest = front.empty() ? 0 : front.front().estimate.seconds;
  std::erase_if(front, [&](const Ranked& ranked) { return ranked.estimate.seconds > 2 * fastest; });
  const std::size_t from_front = std::min(front.size(), most / 4);
  for (std::size_t i = 0; i < from_front; ++i)
    add(front[from_front == 1 ? 0 : i * (front.size() - 1) / (from_front - 1)]);
  for (const Ranked& ranked : best.fastest()) add(ranked);
  return plans;
}

Explored explore_all(const Common& common, const SearchSpace& space, const SearchRequest& request) {
  Profiles profiles(space);
  const std::uint64_t parts = SizeProduct(space, SizePart::attention).count();
  const std::size_t threads = std::min<std::size_t>(std::max(1U, request.jobs), parts);
  std::vector<std::unique_ptr<CostTables>> tables(threads);
  std::vector<Explored> explored(parts, Explored(request.simulate));
  in_parallel(parts, request.jobs, [&](std::size_t part, std::size_t thread) {
    if (!tables[thread]) tables[thread] = std::make_unique<CostTables>(base_of(common));
    explore(space, profiles, *tables[thread], part, explored[part]);
  });
  Explored all(request.simulate);
  for (Explored& part : explored) {
    for (std::size_t rule = 0; rule < cut_rule_count; ++rule) all.cut[rule] += part.cut[rule];
    all.ranked += part.ranked;
    all.best.add(std::move(part.best));
  }
  return all;
}

/// The plan of the document.
void simulate_plan(const Value& document, FoundPlan& plan) {
  try {
    Scenario scenario = read_scenario(document);
    scenario.drift.reset();  // a search is for the plan of one step
    plan.report = simulate(scenario).report;
  } catch (const InputError& error) {
    plan.error = error.what();
  } catch (const RunError& error) {
    plan.error = error.what();
  }
}

/// Candidates are estimated at the clock that the scenario's own plan settles at, whose report is returned.
/// At the full one where that plan cannot run, or the power of devices is not known.
std::optional<Report> settle(Common& common) {
  if (!base_of(common).cluster->device.power) return {};
  FoundPlan own;
  simulate_plan(common.document, own);
  if (own.report) common.clock = own.report->power->clock;
  return own.report;
}

/// What the search is of.
void introduce(const Scenario& base, const Value& document, const SearchSpace& space, SearchResult& result) {
  result.about = base.about;
  result.title = title_of(document);
  result.on = cluster_line(base);
  result.scenario = one_line(whole_document(document));
  result.model = base.model.name;
  if (base.cluster) result.cluster = base.cluster->name;
  result.tried = space.describe();
  result.candidates = space.candidates();
  result.memory_limit = space.memory_limit;
}

}  // namespace

Search search(const SearchRequest& request) {
  const std::string file = request.path == "-" ? "standard input" : request.path;
  const Value document = load_document_text(read_file(request.path), file, request.overrides);
  if (request.sees_files) request.sees_files(files_needed(document));
  Common common{document, batch_of(document)};
  const Scenario base = base_of(common);
  const SearchSpace space = search_space(document, base);
  Search search;
  SearchResult& result = search.result;
  introduce(base, document, space, result);
  const std::optional<Report> settled = settle(common);
  auto start = std::chrono::steady_clock::now();
  const Explored explored = explore_all(common, space, request);
  result.estimate_seconds = seconds_since(start);
  result.cut = explored.cut;
  result.ranked = explored.ranked;
  result.simulated = chosen(space, explored.best, request.simulate);
  start = std::chrono::steady_clock::now();
  result.own = own_plan_of(document, space, base_of(common));
  const std::size_t others = result.simulated.size();
  in_parallel(others + 1, request.jobs, [&](std::size_t i, std::size_t) {
    if (i < others) return simulate_plan(with_plan(document, result.simulated[i]), result.simulated[i]);
    if (!result.own.plan.error.empty()) return;
    result.own.plan.report = settled;
    if (!settled) simulate_plan(document, result.own.plan);
  });
  result.simulate_seconds = seconds_since(start);
  judge(result);
  if (result.fitting == 0) return search;
  search.winner = whole_document(with_plan(document, result.simulated.front()));
  const std::string title = result.title.empty() ? "moesim search" : result.title;
  search.winner.set("about", value_of(fmt::format("{}: {}", title, print(result.simulated.front())), file));
  return search;
}

}  // namespace moesim
