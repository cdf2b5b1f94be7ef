// The table of facts: each number once, and every report, table and picture says what the table reads.
#include "sim/report/fact.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "models/base/text.hpp"
#include "models/config/values.hpp"
#include "sim/run/repeat.hpp"
#include "sim/sweep/measure.hpp"
#include "sim/write/comparison.hpp"
#include "sim/write/report.hpp"
#include "tests/support/power.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::literals;
using namespace moesim::testing;

namespace {

/// Runs that between them have every fact: a model with uneven loads, failures, a pipeline without a model,
/// one communication, several seeds, devices at their power limit, a budget.
const std::vector<Report>& reports() {
  static const std::vector<Report> all = [] {
    std::vector<Report> made;
    const auto add = [&](const std::string& path, const std::vector<std::string>& sets) {
      RunRequest request{.path = MOESIM_SOURCE "/scenarios/" + path, .overrides = {}};
      for (const std::string& set : sets) request.overrides.push_back(parse_override(set));
      made.push_back(run(request).simulation.report);
    };
    add("two-gpus.json", {});
    add("hot-expert.json", {"repeat=2"});
    add("dualpipe-8x20.json",
        {R"(faults.failures={"per_device_year": 200, "checkpoint_interval": "600 s", "checkpoint_cost": "20 s", "restart_cost": "900 s", "run": "86400 s"})"});
    add("validation/nccl-h200.json", {});
    add("validation/hugging-face-h200.json", {});
    add("two-gpus.json", {power_set(300), "model.hidden=4096",
                          R"(budget={"price_per_device_hour": 2, "price_per_kwh": 0.1, "kg_per_kwh": 0.4})"});
    add("two-gpus.json", {"budget={}", "certainty.draws=20"});
    add("drift.json", {"routing.drift.steps=4", "routing.drift.rebalance.every=2"});
    return made;
  }();
  return all;
}

bool is_null(const Value& value) { return value.kind == Value::Kind::null; }

/// The tree's leaves that are neither lists nor in lists, by their paths.
void add_leaves(const Value& value, const std::string& path, std::set<std::string>& paths) {
  if (value.kind != Value::Kind::object) paths.insert(path);
  for (const auto& [name, member] : value.members)
    add_leaves(member, path.empty() ? name : path + "." + name, paths);
}

/// A row of CSV whose cells hold no quotes but around texts.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  bool is_quoted = false;
  for (const char letter : line) {
    if (letter == '"') is_quoted = !is_quoted;
    if (letter == ',' && !is_quoted) {
      cells.emplace_back();
    } else {
      cells.back() += letter;
    }
  }
  return cells;
}

/// What a table says under that column.
std::string cell_of(const std::string& csv, std::string_view column) {
  const std::vector<std::string> lines = lines_of(csv);
  const std::vector<std::string> header = cells_of(lines.at(0));
  const auto found = std::find(header.begin(), header.end(), column);
  REQUIRE(found != header.end());
  return cells_of(lines.at(1)).at(static_cast<std::size_t>(found - header.begin()));
}

void check_cell(const std::string& cell, const Value& value) {
  if (value.kind == Value::Kind::null) {
    CHECK(cell.empty());
  } else if (value.kind == Value::Kind::boolean) {
    CHECK(cell == (value.flag ? "true" : "false"));
  } else {
    CHECK(std::stod(cell) == value.number);
  }
}

std::string csv_of(const Report& report) {
  const Scenario scenario;
  const Work work{.scenario = scenario, .order = {}};
  const TaskGraph graph;
  const Timeline timeline;
  return write(tell({work, graph, timeline, report}, [] { return Value{}; }), "csv");
}

Comparison comparison_of(std::vector<Report> compared) {
  Comparison comparison;
  for (Report& report : compared)
    comparison.runs.push_back({.values = {}, .report = std::move(report), .error = {}});
  rank_runs(comparison);
  return comparison;
}

}  // namespace

TEST_CASE("A fact has a path and a name of its own, a label, a unit, and one way to be read") {
  std::set<std::string_view> paths;
  std::set<std::string_view> names;
  for (const Fact& one : facts()) {
    INFO(one.path);
    CHECK(paths.insert(one.path).second);
    CHECK(names.insert(one.called()).second);
    CHECK(!one.label.empty());
    CHECK(!one.label.ends_with('.'));
    REQUIRE(static_cast<std::size_t>(one.unit) < std::size(unit_names));
    CHECK(!unit_names[static_cast<std::size_t>(one.unit)].empty());
    CHECK((one.of == nullptr) != (one.measure == nullptr));
    CHECK(find_fact(one.path) == &one);
    CHECK(find_fact(one.called()) == &one);
    if (one.unit == Unit::text || one.unit == Unit::rows) CHECK(one.better == Better::neither);
  }
  CHECK(find_fact("no_such_fact") == nullptr);
}

TEST_CASE("Some run has each fact, and what a fact says is of its unit") {
  for (const Fact& one : facts()) {
    INFO(one.path);
    bool is_known = false;
    for (const Report& report : reports()) {
      const Value value = read(one, report);
      if (is_null(value)) continue;
      is_known = true;
      CHECK((value.kind == Value::Kind::text) == (one.unit == Unit::text));
      CHECK((value.kind == Value::Kind::boolean) == (one.unit == Unit::flag));
      CHECK((value.kind == Value::Kind::list || value.kind == Value::Kind::object) ==
            (one.unit == Unit::rows));
      if (one.unit == Unit::share) CHECK((value.number >= 0 && value.number <= 1));
      if (one.unit == Unit::bytes) CHECK(value.kind == Value::Kind::integer);
      CHECK(!print(one, value).empty());
    }
    CHECK(is_known);
  }
}

TEST_CASE("The JSON report has every fact under its path, and nothing that is none") {
  std::set<std::string> head{"schema", "about", "plan", "fingerprint"};
  for (const Report& report : reports()) {
    const Value json = report_value(report);
    std::set<std::string> told;
    add_leaves(json, "", told);
    for (const std::string& name : head) CHECK(told.erase(name) == 1);
    for (const Fact& one : facts()) {
      INFO(report.about << ": " << one.path);
      const Value value = read(one, report);
      const Value* found = measure_of(one).in(json);
      const bool has_part = !one.path.starts_with("pipeline.") || !report.pipeline_ranks.empty();
      REQUIRE((found != nullptr) == (has_part && !is_null(value)));
      if (found != nullptr) CHECK(same(*found, value));
      std::erase_if(told, [&](const std::string& path) {
        return path == one.path || (one.unit == Unit::rows && path.starts_with(std::string(one.path) + "."));
      });
    }
    INFO(report.about);
    CHECK(told == std::set<std::string>{});
  }
}

TEST_CASE("The row of a run, a comparison and a sweep's measures say what the table of facts reads") {
  for (const Report& report : reports()) {
    const std::string row = csv_of(report);
    const Comparison comparison = comparison_of({report});
    const std::string compared = write(tell(comparison), "csv");
    const Value json = report_value(report);
    const Value in_comparison =
        parse_json(write(tell(comparison), "json"), "comparison").find("runs")->items.at(0);
    for (const auto& names : {run_columns(), later_columns()}) {
      for (const std::string_view name : names) {
        INFO(report.about << ": " << name);
        check_cell(cell_of(row, name), read(fact(name), report));
      }
    }
    for (const auto& names : {compared_columns(), later_columns()}) {
      for (const std::string_view name : names) {
        INFO(report.about << ": " << name);
        const Value value = read(fact(name), report);
        check_cell(cell_of(compared, name), value);
        if (fact(name).unit == Unit::flag) continue;
        const Measure measure = parse_measure(std::string(name), "here");
        CHECK(measure.label == fact(name).label);
        CHECK(measure.unit == fact(name).unit);
        CHECK(measure.more_is_better == (fact(name).better == Better::higher));
        const auto number = measure.number_in(json);
        if (number) CHECK(*number == value.number);
      }
    }
    for (const std::string_view name : compared_keys()) {
      INFO(report.about << ": " << name);
      const Value value = read(fact(name), report);
      const Value* found = in_comparison.find(name);
      REQUIRE((found != nullptr) == !is_null(value));
      if (found != nullptr) CHECK(found->number == value.number);
    }
  }
}

TEST_CASE("The last columns of a run, a comparison and JSON are those that are about what there is") {
  std::size_t have[5] = {};
  for (const Report& report : reports()) {
    INFO(report.about);
    const Comparison comparison = comparison_of({report});
    const Value in_comparison =
        parse_json(write(tell(comparison), "json"), "comparison").find("runs")->items.at(0);
    const bool has_kernels = std::any_of(report.kernels.begin(), report.kernels.end(),
                                         [](const KernelReport& of) { return of.time.count > 0; });
    const bool there[] = {has_kernels, report.power.has_value(), report.budget.has_value(),
                          report.expected_error.has_value(), report.drift.has_value()};
    constexpr std::string_view names[] = {
        ",products_s,grouped_s,attention_s,streaming_s,gather_scatter_s,loss_s,update_s,gaps_s,host_s",
        ",joules,joules_per_token,mean_power_w,clock,limit_cost_s",
        ",wall_clock_s,device_hours,kwh,cost,carbon_kg", ",step_time_low_s,step_time_high_s",
        ",run_tokens_per_s,run_time_s,run_rank_load_max_over_mean,moved_bytes,moving_waiting_s"};
    REQUIRE(std::size(names) == last_columns().size());
    std::string end = ",plan";
    for (std::size_t i = 0; i < std::size(names); ++i) {
      if (there[i]) end += names[i];
      have[i] += there[i] ? 1 : 0;
    }
    for (const std::string& table : {csv_of(report), write(tell(comparison), "csv")}) {
      CHECK(lines_of(table).at(0).ends_with(end));
      for (std::size_t i = 0; i < std::size(names); ++i) {
        for (const std::string_view name : last_columns()[i]) {
          const Value value = read(fact(name), report);
          if (there[i]) check_cell(cell_of(table, name), value);
          const Value* found = in_comparison.find(name);
          REQUIRE((found != nullptr) == !is_null(value));
          if (found != nullptr) CHECK(found->number == value.number);
          CHECK(parse_measure(std::string(name), "here").label == fact(name).label);
        }
      }
    }
  }
  for (const std::size_t some : have) CHECK(some > 0);
}

TEST_CASE("A dotted path that is a fact's is measured as the fact is") {
  for (const Fact& one : facts()) {
    if (one.path.find('.') == std::string_view::npos) continue;
    INFO(one.path);
    const Measure measure = parse_measure(std::string(one.path), "here");
    CHECK(measure.unit == one.unit);
    CHECK(measure.more_is_better == (one.better == Better::higher));
  }
  CHECK(parse_measure("goodput.simulated", "here").more_is_better);
}

TEST_CASE("Text says facts under their labels, as the table prints them") {
  for (const Report& report : reports()) {
    const std::string text = report_text(report);
    for (const std::string_view name :
         {"compute_s", "exposed_communication_s", "bubble_s", "optimizer_s", "passes_s.forward"}) {
      if (report.pipeline_ranks.empty()) continue;
      const std::string line = fmt::format("  {:<22} {:>10} ", fact(name).label, print(name, report));
      INFO(line);
      CHECK(text.find(line) != std::string::npos);
    }
    CHECK(text.find(fmt::format("step time      {}", print("step_time_s", report))) != std::string::npos);
    if (report.tokens > 0)
      CHECK(text.find(fmt::format("MFU {} of", print("mfu", report))) != std::string::npos);
  }
}

TEST_CASE("A comparison puts ahead what the table of facts says is better") {
  Report fast;
  fast.step_time = 1_s;
  fast.tokens = 100;
  fast.devices = 1;
  Report slow = fast;
  slow.step_time = 2_s;
  CHECK(fact("step_time_s").better == Better::lower);
  CHECK(comparison_of({slow, fast}).best == 1);
  CHECK(comparison_of({slow, fast}).runs[0].relative == 2);
  slow.tokens = 1000;  // five times as many for each second
  CHECK(fact("tokens_per_s_per_device").better == Better::higher);
  const Comparison by_token = comparison_of({slow, fast});
  CHECK(by_token.is_by_token);
  CHECK(by_token.best == 0);
  CHECK(by_token.runs[1].relative == Approx(5));
}

TEST_CASE("A value is printed in the unit of its fact, with the digits of its fact") {
  const auto printed = [](std::string_view name, const Value& value) { return print(fact(name), value); };
  CHECK(printed("step_time_s", value_of(1.5e-3)) == "1.5 ms");
  CHECK(printed("peak_memory", value_of(std::int64_t{2'000'000'000})) == "2 GB");
  CHECK(printed("mfu", value_of(0.37249)) == "37.2 %");
  CHECK(printed("bubble_mean", value_of(0.37249)) == "37.25 %");
  CHECK(printed("load_max_over_mean", value_of(1.23456)) == "1.235");
  CHECK(printed("tokens_per_s", value_of(1234567.2)) == "1,234,567");
  CHECK(printed("tflops_per_device", value_of(312.5)) == "312.5 TFLOPS");
  CHECK(printed("fits", value_of(false)) == "NO");
  CHECK(printed("engine.kind", value_of("fluid")) == "fluid");
  CHECK(printed("joules", value_of(1.5e6)) == "1.5 MJ");
  CHECK(printed("mean_power_w", value_of(654.32)) == "654.3 W");
  CHECK(printed("kwh", value_of(12345.6)) == "12,346 kWh");
  CHECK(printed("kwh", value_of(1.23456)) == "1.235 kWh");
  CHECK(printed("device_hours", value_of(999.96)) == "1,000 h");
  CHECK(printed("cost", value_of(2'664'000.4)) == "2,664,000");
  CHECK(printed("cost", value_of(0.034)) == "0.034");
  CHECK(printed("carbon_kg", value_of(4.0)) == "4 kg");
  CHECK(printed("mfu", Value{}).empty());
}
