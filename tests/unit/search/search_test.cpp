// The search for plans: what it counts, what it keeps to, and how far its estimate is from simulation.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "models/base/error.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/estimate/split.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/search/choices.hpp"
#include "sim/search/search.hpp"
#include "tests/support/power.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

SearchRequest request_of(const std::vector<std::string>& sets, std::size_t simulate = 12,
                         const std::string& scenario = "mixtral-8x7b-h100") {
  SearchRequest request{.path = fmt::format("{}/scenarios/{}.json", MOESIM_SOURCE, scenario),
                        .overrides = {},
                        .simulate = simulate,
                        .jobs = 2};
  for (const std::string& set : sets) request.overrides.push_back(parse_override(set));
  return request;
}

const std::vector<std::string> small{"search.tensor=[1,2]", "search.context=[1,2]", "search.expert=[4,8]",
                                     "search.expert_tensor=[1,2]", "search.microbatch=[1,2,3]"};

}  // namespace

TEST_CASE("Candidates of a search are those that a rule cut and those that were ranked") {
  const SearchResult result = search(request_of(small)).result;
  // 7 divisors of 64 for pipeline; 10 schedules, 3 recomputations, 3 synchronisations, 2 placements.
  CHECK(result.candidates == 7ULL * 2 * 2 * 2 * 2 * 3 * 10 * 3 * 3 * 2);
  CHECK(std::accumulate(result.cut.begin(), result.cut.end(), result.ranked) == result.candidates);
  CHECK(result.ranked > 1000);
  CHECK(result.cut[static_cast<std::size_t>(CutRule::batch)] > 0);  // 3 divides no power of two
  CHECK(result.cut[static_cast<std::size_t>(CutRule::memory)] > 0);
}

TEST_CASE("A search in which a collective refuses every plan says so") {
  const std::vector<std::string> sets{R"(gradient_sync={"kind": "all_reduce"})",
                                      R"(collectives.gradients={"kind": "tree"})"};
  CHECK_THROWS_AS(search(request_of(sets, 5, "two-gpus")), InputError);
}

TEST_CASE("The winner of a search runs as it was simulated, and its memory fits") {
  const Search found = search(request_of(small));
  REQUIRE(found.result.fitting > 0);
  const Scenario scenario = read_scenario(parse_json(write_json(found.winner), "winner"));
  const Report report = simulate(scenario).report;
  CHECK(report.fingerprint == found.result.simulated.front().report->fingerprint);
  CHECK(report.memory_peak() <= found.result.memory_limit);
  for (std::size_t i = 1; i < found.result.fitting; ++i)
    CHECK(found.result.simulated[i].report->step_time >= report.step_time);
}

TEST_CASE("The estimate of a search is near simulation, and its memory never above") {
  struct Case {
    std::string scenario;
    double worst;
  };
  // docs/search.md says how near.
  for (const auto& [scenario, worst] : {Case{"mixtral-8x7b-h100", 0.03}, Case{"two-gpus", 0.08}}) {
    const SearchResult result = search(request_of({}, 40, scenario)).result;
    REQUIRE(result.agreement.pairs == 40);
    INFO(scenario);
    CHECK(std::abs(result.agreement.worst) < worst);
    CHECK(result.agreement.median < 0.02);
    CHECK(result.agreement.kendall_tau > 0.5);
    for (const FoundPlan& plan : result.simulated)
      CHECK(plan.estimated_memory <= 1.0000001 * static_cast<double>(plan.report->memory_peak().count));
  }
}

TEST_CASE("A search estimates at the clock at which the scenario's own plan settles") {
  const SearchResult result = search(request_of({power_set(300), "model.hidden=4096"}, 8, "two-gpus")).result;
  REQUIRE(result.own.plan.report);
  const Report& own = *result.own.plan.report;
  CHECK(own.power->clock < 0.9);
  CHECK(result.own.plan.estimated_seconds == Approx(to_seconds(own.step_time)).epsilon(0.03));
  CHECK(result.agreement.median < 0.05);
}

TEST_CASE("The estimate of a search knows what else a scenario says, and its memory is never above") {
  struct Case {
    std::string set;
    double median;
  };
  // Where a forward runs beside a backward, ranks that are busy in one need not be in the other.
  const std::vector<Case> cases{
      {R"(software={"kind": "file", "placeholder_gradients": true})", 0.05},
      {"gradient_sync.overlap=true", 0.05},
      {R"(software={"kind": "file", "update_passes": "separate"})", 0.05},
      {R"(software={"kind": "file", "fused_loss": false})", 0.05},
      {R"(routing={"kind": "top_k", "skew": {"kind": "zipf", "exponent": 0.5}})", 0.15},
      {R"(routing={"kind": "top_k", "skew": {"kind": "zipf"}, "placement": "balanced", "redundant": 8})",
       0.15}};
  for (const auto& [set, median] : cases) {
    std::vector<std::string> sets = small;
    sets.insert(sets.end(), {"search.tensor=[1,4]", "search.context=[1]", "search.pipeline=[1,4,8]",
                             "search.expert=[8]", "search.microbatch=[1,2]", set});
    const SearchResult result = search(request_of(sets, 16)).result;
    INFO(set);
    REQUIRE(result.agreement.pairs == 16);
    CHECK(result.agreement.median < median);
    CHECK(result.agreement.kendall_tau > 0.2);  // of sixteen plans that lie within a few percent
    for (const FoundPlan& plan : result.simulated)
      CHECK(plan.estimated_memory <= 1.0000001 * static_cast<double>(plan.report->memory_peak().count));
  }
}

TEST_CASE("Placeholder gradients take as much of the estimated memory as of the simulated one") {
  const std::vector<std::string> one{
      "search.tensor=[2]",          "search.context=[1]",          "search.expert=[8]",
      "search.expert_tensor=[1]",   "search.microbatch=[1]",       "search.pipeline=[4]",
      "search.schedule=[\"1f1b\"]", "search.recompute=[\"full\"]", "search.gradient_sync=[\"zero1\"]"};
  std::vector<std::string> with = one;
  with.emplace_back(R"(software={"kind": "file", "placeholder_gradients": true})");
  const FoundPlan without = search(request_of(one, 1)).result.simulated.front();
  const FoundPlan plan = search(request_of(with, 1)).result.simulated.front();
  const auto simulated =
      static_cast<double>((plan.report->memory_peak() - without.report->memory_peak()).count);
  CHECK(simulated > 1e8);
  CHECK(plan.estimated_memory - without.estimated_memory == Approx(simulated).epsilon(0.02));
}

TEST_CASE("A search keeps to the sizes, schedules and memory that it was given") {
  std::vector<std::string> sets = small;
  sets.insert(sets.end(), {"search.pipeline=[4]", "search.data=[8]", "search.schedule=[\"1f1b\",\"zb_h1\"]",
                           "search.recompute=[\"norm+activation\"]", "search.gradient_sync=[\"zero1\"]",
                           "search.memory_limit=40 GB"});
  const SearchResult result = search(request_of(sets)).result;
  REQUIRE(result.fitting > 0);
  for (const FoundPlan& plan : result.simulated) {
    CHECK(plan.sizes.pipeline == 4);
    CHECK(plan.sizes.data == 8);
    CHECK((plan.schedule == "1f1b" || plan.schedule == "zb_h1"));
    CHECK(plan.recompute == std::vector<std::string>{"norm", "activation"});
    CHECK(plan.gradient_sync == "zero1");
    CHECK(plan.estimated_memory <= 40e9);
  }
}

TEST_CASE("Every size of a search is kept to, told under its key and set in the winner") {
  for (const SizeAxis& axis : size_axes) {
    INFO(axis.key);
    std::vector<std::string> sets = small;
    sets.push_back(fmt::format("search.{}=[2]", axis.key));
    const Search found = search(request_of(sets, 3));
    REQUIRE(found.result.fitting > 0);
    CHECK(std::count(found.result.tried.begin(), found.result.tried.end(), fmt::format("{}: 2", axis.key)) ==
          1);
    const FoundPlan& best = found.result.simulated.front();
    CHECK(size_in(best, axis) == 2);
    const Value told = search_value(found.result);
    CHECK(member(member(told, {"plans"}).items.front(), {axis.key}).integer == 2);
    const Table table = search_table(found.result);
    const auto column = std::find(table.columns.begin(), table.columns.end(), axis.key);
    REQUIRE(column != table.columns.end());
    CHECK(table.rows.front()[static_cast<std::size_t>(column - table.columns.begin())].text == "2");
    const Scenario scenario = read_scenario(parse_json(write_json(found.winner), "winner"));
    FoundPlan again;
    again.sizes = scenario.layout.sizes();
    again.microbatch = scenario.batch.microbatch;
    CHECK(size_in(again, axis) == 2);
  }
}

TEST_CASE("Every choice of a search has values, and a key under which plans tell it") {
  const Search found = search(request_of(small, 3));
  const Value told = search_value(found.result);
  const Table table = search_table(found.result);
  for (const ChoiceAxis& axis : choice_axes()) {
    INFO(axis.key);
    CHECK(std::any_of(plan_keys().begin(), plan_keys().end(),
                      [&](const PlanKey& key) { return key.key == axis.key; }));
    CHECK(std::count(table.columns.begin(), table.columns.end(), axis.key) == 1);
    CHECK(std::any_of(found.result.tried.begin(), found.result.tried.end(), [&](const std::string& line) {
      return line.starts_with(fmt::format("{}: ", axis.key)) && line.size() > axis.key.size() + 2;
    }));
    for (const Value& plan : member(told, {"plans"}).items) CHECK(plan.find(axis.key) != nullptr);
  }
}

TEST_CASE("A search finds the same with any number of threads") {
  SearchRequest request = request_of(small);
  request.jobs = 1;
  const std::string one = write_json(search_value(search(request).result));
  request.jobs = 3;
  CHECK(write_json(search_value(search(request).result)) == one);
}

TEST_CASE("A split of layers holds every layer, and makes no stage slower than it has to be") {
  const std::vector<double> weights(62, 1.0);
  const std::vector<std::int64_t> split = split_layers(weights, 0.1, 2, 16);
  CHECK(split.size() == 16);
  CHECK(std::accumulate(split.begin(), split.end(), std::int64_t{0}) == 62);
  CHECK(*std::max_element(split.begin(), split.end()) <= 5);
  CHECK(split.back() <= 3);  // the head stands there
  CHECK(fill_layers(62, 16) == std::vector<std::int64_t>{4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2});
  CHECK(fill_layers(10, 8) == std::vector<std::int64_t>{2, 2, 1, 1, 1, 1, 1, 1});
  CHECK(fill_layers(10, 8, true) == std::vector<std::int64_t>{2, 2, 2, 2, 2, 0, 0, 0});
}

TEST_CASE("A split leaves no stage without layers, however much they differ") {
  for (std::int64_t layers = 1; layers < 12; ++layers) {
    for (std::int64_t stages = 1; stages <= layers; ++stages) {
      CAPTURE(layers, stages);
      std::vector<double> weights(static_cast<std::size_t>(layers), 1.0);
      weights[static_cast<std::size_t>(layers / 2)] = 40;
      for (const double embedding : {0.0, 30.0}) {
        for (const std::vector<std::int64_t>& split :
             {split_layers(weights, embedding, 20, stages), fill_layers(layers, stages)}) {
          CHECK(split.size() == static_cast<std::size_t>(stages));
          CHECK(std::accumulate(split.begin(), split.end(), std::int64_t{0}) == layers);
          CHECK(*std::min_element(split.begin(), split.end()) > 0);
        }
      }
    }
  }
}

TEST_CASE("A search proposes stages without layers only where it is asked to") {
  const std::vector<std::string> sets{"model.layers=5", "cluster.devices=4", "search.pipeline=[4]",
                                      R"(search.schedule=["1f1b", "zb_h1"])"};
  const auto has_empty = [](const SearchResult& result) {
    return std::any_of(result.simulated.begin(), result.simulated.end(), [](const FoundPlan& plan) {
      const std::vector<std::int64_t>& layers = plan.layers_per_stage;
      return std::find(layers.begin(), layers.end(), 0) != layers.end();
    });
  };
  CHECK_FALSE(has_empty(search(request_of(sets, 200, "two-gpus")).result));
  std::vector<std::string> asked = sets;
  asked.emplace_back("search.empty_stages=true");
  CHECK(search(request_of(asked, 200, "two-gpus")).result.ranked > 0);
}

TEST_CASE("A search simulates the scenario's own plan, and says where it stands") {
  const auto own_of = [](std::vector<std::string> sets) {
    sets.insert(sets.end(), small.begin(), small.end());
    return search(request_of(sets, 3)).result;
  };
  const SearchResult result = own_of({});
  const Scenario scenario = load_scenario(MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json");
  REQUIRE(result.own.plan.report);
  CHECK(result.own.plan.report->fingerprint == simulate(scenario).report.fingerprint);
  CHECK(result.own.outside.empty());
  CHECK(result.own.plan.estimated_seconds ==
        Approx(to_seconds(result.own.plan.report->step_time)).epsilon(0.05));
  CHECK(search_text(result, 3).find("The scenario's own plan") != std::string::npos);
  CHECK(write_json(search_value(result)).find("\"own\": {") != std::string::npos);
  CHECK(write(tell(result, 3), "csv").find(",true\n") != std::string::npos);
  CHECK(draw_svg(result).find("class=\"own\"") != std::string::npos);

  const SearchResult outside =
      own_of({"search.pipeline=[1,2]", R"(search.schedule=["zb_h1"])", "search.memory_limit=20 GB"});
  CHECK(outside.own.outside == std::vector<std::string>{"pipeline 4", "1f1b"});
  CHECK(outside.own.place == 0);
  CHECK(search_text(outside, 3).find("outside of what is tried: pipeline 4, 1f1b") != std::string::npos);
  CHECK(search_text(outside, 3).find("does not fit") != std::string::npos);

  const SearchResult failed = own_of({"parallelism.pipeline=5"});
  CHECK_FALSE(failed.own.plan.report);
  CHECK(failed.own.plan.error.find("do not divide") != std::string::npos);
  CHECK(search_text(failed, 3).find("own plan cannot run") != std::string::npos);
}

TEST_CASE("The scenario's own plan is found among the plans where the search tries it") {
  const SearchResult result =
      search(request_of({"search.pipeline=[1]", "search.context=[1]", "search.expert_tensor=[1]",
                         "search.microbatch=[1]", R"(search.recompute=["none"])"},
                        200, "two-gpus"))
          .result;
  REQUIRE(result.own.place > 0);
  const FoundPlan& plan = result.simulated[result.own.place - 1];
  CHECK(print(plan) == print(result.own.plan));
  CHECK(plan.estimated_seconds == result.own.plan.estimated_seconds);
}

TEST_CASE("What a search cannot do is an error that says why") {
  const auto refusal = [](const std::vector<std::string>& sets) {
    try {
      static_cast<void>(search(request_of(sets)));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refusal({"search.schedule=[\"zb_auto\"]"}).find("fits its order") != std::string::npos);
  CHECK(refusal({"search.schedule=[\"none\"]"}).find("unknown 'none' (known: sequential") !=
        std::string::npos);
  CHECK(refusal({"search.tenser=[1]"}).find("did you mean 'tensor'?") != std::string::npos);
  CHECK(refusal({"search.recompute=[\"all\"]"}).find("unknown 'all'") != std::string::npos);
  CHECK(refusal({"parallelism.layout=data"}).find("decides the sizes") != std::string::npos);
  const Outcome none = run_moesim({"search", "scenarios/two-gpus.json", "--set", "search.memory_limit=1 MB"});
  CHECK(none.code == 1);
  CHECK(none.err.find("no candidate is left") != std::string::npos);
}

TEST_CASE("The picture of a search has a dot for each simulated plan, and those of the front once more") {
  const SearchResult result = search(request_of(small)).result;
  const std::string svg = draw_svg(result);
  const auto count = [&](const std::string& word) {
    std::size_t found = 0;
    for (std::size_t at = svg.find(word); at != std::string::npos; at = svg.find(word, at + 1)) ++found;
    return found;
  };
  CHECK(count("class=\"plan\"") == result.simulated.size());
  CHECK(count("class=\"front\"") == result.front.size());
  CHECK(count(">memory limit<") == 1);
}
