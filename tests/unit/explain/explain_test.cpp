// Every single change of a scenario, tried: which there are, that each is what `run --set` makes of it, and
// what is said of them.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "models/base/error.hpp"
#include "sim/explain/explain.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/verdict.hpp"
#include "sim/run/simulate.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using Catch::Matchers::Contains;

namespace {

const std::string path = MOESIM_SOURCE "/scenarios/moe-top2.json";

ExplainRequest request_of(std::vector<Override> overrides = {}, unsigned jobs = 2) {
  return {.path = path, .overrides = std::move(overrides), .jobs = jobs};
}

const Explanation& explained() {
  static const Explanation all = explain(request_of());
  return all;
}

const TriedChange* find(const Explanation& all, const std::string& keys) {
  for (const TriedChange& one : all.changes)
    if (one.change.keys() == keys) return &one;
  return nullptr;
}

}  // namespace

TEST_CASE("Every switch that the scenario declares is tried, and what is no choice is not") {
  std::set<std::string> keys;
  for (const TriedChange& one : explained().changes) keys.insert(one.change.sets.front().key);
  for (const char* key : {"schedule.kind", "parallelism.expert", "parallelism.pipeline", "batch.microbatch",
                          "recompute", "gradient_sync.kind", "precision.gemm", "parallelism.placement",
                          "cluster.topology.nic_rate", "collectives.token_exchange"})
    CHECK(keys.contains(key));
  for (const std::string& key : keys) {
    CHECK_FALSE(key.starts_with("model."));
    CHECK_FALSE(key.starts_with("engine"));
    CHECK_FALSE(key.starts_with("cost"));
    CHECK_FALSE(key == "resolution");
    CHECK_FALSE(key == "software.kind");
  }
  for (const Entry<Schedule>* schedule : schedules()) {
    const std::string change = "schedule.kind=" + std::string(schedule->name);
    CHECK((find(explained(), change) != nullptr || schedule->name == "1f1b"));
  }
}

TEST_CASE("No change is tried twice, and none is what the scenario says already") {
  std::set<std::string> changes;
  for (const TriedChange& one : explained().changes) {
    INFO(one.change.keys());
    CHECK(changes.insert(one.change.keys()).second);
  }
  CHECK(find(explained(), "schedule.kind=1f1b") == nullptr);
}

TEST_CASE("What a change comes to is what run makes of it") {
  const Explanation& all = explained();
  CHECK(all.base.fingerprint == simulate(load_scenario(path)).report.fingerprint);
  std::size_t checked = 0;
  for (const TriedChange& one : all.changes) {
    if (!one.report || ++checked % 7 != 0) continue;
    const Report report = simulate(load_scenario(path, one.change.sets)).report;
    INFO(one.change.keys());
    CHECK(report.fingerprint == one.report->fingerprint);
    CHECK(one.gain == Approx(1 - to_seconds(report.step_time) / to_seconds(all.base.step_time)));
  }
  CHECK(checked > 20);
}

TEST_CASE("Changes are sorted by gain, and what is refused says why behind them") {
  const Explanation& all = explained();
  for (std::size_t i = 0; i + 1 < all.changes.size(); ++i) {
    const TriedChange &one = all.changes[i], &next = all.changes[i + 1];
    if (!next.report) continue;
    REQUIRE(one.report);
    CHECK(one.gain >= next.gain);
  }
  for (const TriedChange& one : all.changes) CHECK(one.report.has_value() == one.error.empty());
  CHECK_FALSE(all.changes.back().report);
}

TEST_CASE("A pair is listed where two settings of other keys gain more than either") {
  const Explanation& all = explained();
  for (const TriedPair& pair : all.pairs) {
    const TriedChange &first = all.changes[pair.first], &second = all.changes[pair.second];
    CHECK(first.change.kind == ChangeKind::setting);
    CHECK(first.change.sets.front().key != second.change.sets.front().key);
    CHECK(pair.gain > std::max(first.gain, second.gain));
    CHECK(pair.report->fits());
  }
}

TEST_CASE("An explanation does not depend on how many runs go at a time") {
  const auto json = [](unsigned jobs) {
    return write(tell(explain(request_of({parse_override("parallelism.pipeline=2")}, jobs))), "json");
  };
  CHECK(json(1) == json(3));
}

TEST_CASE("A change of hardware doubles what the scenario's files give, in their unit") {
  const TriedChange* nics = find(explained(), "cluster.topology.nic_rate=800 Gb/s");
  REQUIRE(nics != nullptr);
  CHECK(nics->change.kind == ChangeKind::what_if);
  CHECK(nics->change.says == "NICs twice as fast");
  REQUIRE(nics->report);
  CHECK(nics->gain >= 0);
}

TEST_CASE("A verdict names what takes time besides compute, with its share of the step") {
  const Report& report = explained().base;
  const std::vector<std::string> words = verdict_of(report);
  REQUIRE_FALSE(words.empty());
  const double bubble = report.breakdown.bubble / report.step_time;
  CHECK_THAT(words.front(), Contains(fmt::format("{:.0f} % of the step is lost in bubbles", 100 * bubble)));
  CHECK_THAT(words.back(), Contains("Compute is"));
}

TEST_CASE("A verdict begins with memory that is short, and says what needs most of it") {
  const Report report =
      simulate(load_scenario(path, {parse_override("cluster.device.memory=\"20 GB\"")})).report;
  CHECK_THAT(verdict_of(report).front(), Contains("It does not fit: pipeline rank") && Contains("of 20 GB"));
}

TEST_CASE("Scenarios without a training step have nothing to explain") {
  CHECK_THROWS_WITH(explain({.path = MOESIM_SOURCE "/scenarios/dualpipe-8x20.json", .overrides = {}}),
                    Contains("has no training step"));
}

TEST_CASE("Text, JSON and table have the same changes") {
  const Explanation& all = explained();
  const std::string text = write(tell(all), "text");
  CHECK_THAT(text, Contains("What would help") && Contains("With other hardware") && Contains("Tried "));
  const Value json = parse_json(write(tell(all), "json"), "json");
  CHECK(json.find("changes")->items.size() == all.changes.size());
  CHECK(json.find("pairs")->items.size() == all.pairs.size());
  const std::string csv = write(tell(all), "csv");
  CHECK(static_cast<std::size_t>(std::count(csv.begin(), csv.end(), '\n')) ==
        1 + all.changes.size() + all.pairs.size());
}
