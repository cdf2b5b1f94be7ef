// The report as JSON holds to its contract (docs/interface.md), for every scenario.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

double number_at(const Value& object, std::initializer_list<std::string_view> path) {
  const Value& value = member(object, path);
  REQUIRE((value.kind == Value::Kind::number || value.kind == Value::Kind::integer));
  return value.number;
}

/// Calls `check(path, value)` for every value of a tree.
void walk(const Value& value, const std::string& path, const auto& check) {
  check(path, value);
  for (const Value& item : value.items) walk(item, path + "[]", check);
  for (const auto& [name, child] : value.members) walk(child, path + "." + name, check);
}

bool is_model_run(const Value& report) { return report.find("tokens_per_s") != nullptr; }

void check_values(const Value& report) {
  walk(report, "", [](const std::string& path, const Value& value) {
    if (path.starts_with(".scenario")) return;  // what the user wrote
    INFO(path << " is " << print(value));
    CHECK(value.kind != Value::Kind::null);
    if (value.kind != Value::Kind::number && value.kind != Value::Kind::integer) return;
    CHECK(std::isfinite(value.number));
    CHECK(value.number >= 0);
    const bool is_fraction = path.ends_with("_fraction") || path.ends_with("utilization") ||
                             path.ends_with("share") || path == ".mfu";
    if (is_fraction) CHECK(value.number <= 1 + 1e-9);
  });
}

void check_breakdown(const Value& report) {
  double sum = 0;
  for (const std::string_view part : {"compute", "exposed_communication", "bubble", "optimizer"}) {
    sum += number_at(report, {"breakdown_s", part});
  }
  if (member(report, {"breakdown_s"}).find("host") != nullptr)
    sum += number_at(report, {"breakdown_s", "host"});
  CHECK(sum == Approx(number_at(report, {"step_time_s"})).epsilon(1e-12));
}

/// The table of steps divides what the breakdown adds up.
void check_steps(const Value& report) {
  double compute = 0;
  double exposed = 0;
  for (const Value& row : member(report, {"steps"}).items) {
    compute += number_at(row, {"compute_s"});
    exposed += number_at(row, {"exposed_s"});
    CHECK(number_at(row, {"exposed_s"}) <= number_at(row, {"communication_s"}));
  }
  CHECK(compute == Approx(number_at(report, {"breakdown_s", "compute"}) +
                          number_at(report, {"breakdown_s", "optimizer"}))
                       .epsilon(1e-6));
  CHECK(exposed == Approx(number_at(report, {"breakdown_s", "exposed_communication"})).margin(1e-9));
}

void check_pipeline(const Value& report) {
  const Value& stages = member(report, {"pipeline", "per_stage"});
  REQUIRE(!stages.items.empty());
  double makespan = number_at(report, {"pipeline", "makespan_s"});
  CHECK(makespan <= number_at(report, {"step_time_s"}));
  bool found = false;
  for (const Value& stage : stages.items) {
    const double busy = number_at(stage, {"busy_s"});
    const double span = number_at(stage, {"span_s"});
    const double bubble = number_at(stage, {"bubble_s"});
    CHECK(busy + bubble == Approx(span).epsilon(1e-12));
    CHECK(span <= makespan);
    CHECK(number_at(stage, {"peak_microbatches_in_flight"}) >= 1);
    found = found || (std::abs(bubble - number_at(report, {"pipeline", "bubble_s"})) < 1e-12 &&
                      std::abs(bubble / span - number_at(report, {"pipeline", "bubble_fraction"})) < 1e-9);
  }
  CHECK(found);  // the report's bubble is that of one of its stages
  const double mean = number_at(report, {"pipeline", "bubble_mean"});
  const double most = number_at(report, {"pipeline", "bubble_most"});
  CHECK(mean <= most + 1e-12);
  CHECK(number_at(report, {"pipeline", "bubble_fraction"}) <= most + 1e-12);
  // What a device waits while passes run, it computes nothing of them: it waits, or updates and sends
  // gradients.
  CHECK(mean * number_at(report, {"pipeline", "makespan_s"}) <=
        number_at(report, {"breakdown_s", "bubble"}) + number_at(report, {"breakdown_s", "optimizer"}) +
            number_at(report, {"breakdown_s", "exposed_communication"}) + 1e-9);
}

void check_communication(const Value& report) {
  double exposed = 0;
  for (const auto& [name, phase] : member(report, {"communication"}).members) {
    if (name == "per_link_class") {
      for (const auto& [link_class, row] : phase.members) {
        INFO(link_class);
        CHECK(number_at(row, {"bytes"}) >= 0);
        CHECK(number_at(row, {"mean_utilization"}) <= number_at(row, {"max_utilization"}) + 1e-12);
      }
      continue;
    }
    INFO(name);
    CHECK(number_at(phase, {"bytes"}) >= 0);
    CHECK(number_at(phase, {"messages"}) > 0);
    CHECK(number_at(phase, {"exposed_s"}) <= number_at(phase, {"busy_s"}) + 1e-12);
    exposed += number_at(phase, {"exposed_s"});
  }
  CHECK(exposed == Approx(number_at(report, {"breakdown_s", "exposed_communication"})).margin(1e-9));
}

void check_memory(const Value& report) {
  double peak = 0;
  for (const Value& stage : member(report, {"memory", "per_stage"}).items) {
    double sum = 0;
    for (const std::string_view part :
         {"parameters", "gradients", "optimizer", "activations", "buffers", "driver", "channels"}) {
      sum += number_at(stage, {part});
    }
    CHECK(sum == number_at(stage, {"total"}));
    peak = std::max(peak, sum);
  }
  CHECK(peak == number_at(report, {"memory", "peak"}));
  CHECK(member(report, {"memory", "fits"}).flag == (peak <= number_at(report, {"memory", "capacity"})));
}

void check_model_keys(const Value& report) {
  const double tokens = number_at(report, {"tokens_per_s"});
  CHECK(tokens > number_at(report, {"tokens_per_s_per_device"}) * 0.999);
  CHECK(
      number_at(report, {"tflops_per_device"}) * 1e12 ==
      Approx(number_at(report, {"model_flops_per_token"}) * number_at(report, {"tokens_per_s_per_device"})));
  CHECK(number_at(report, {"mfu"}) > 0);
  check_memory(report);
}

void check_critical_path(const Value& report) {
  double sum = 0;
  for (const Value& step : member(report, {"critical_path"}).items) {
    CHECK(!member(step, {"kind"}).text.empty());
    sum += number_at(step, {"share"});
  }
  CHECK(sum == Approx(1).epsilon(1e-9));
}

}  // namespace

TEST_CASE("The JSON report of every scenario has the keys of the contract, and its figures agree") {
  for (const std::string& scenario : project_files("scenarios", ".json")) {
    INFO(scenario);
    const Value report = json_report(scenario);
    CHECK(member(report, {"schema"}).text == "moesim.report/1");
    CHECK(!member(report, {"about"}).text.empty());
    CHECK(member(report, {"plan"}).text.ends_with(", moesim 0.3"));
    CHECK(member(report, {"fingerprint"}).text.size() == 16);
    CHECK(number_at(report, {"step_time_s"}) > 0);
    check_values(report);
    check_breakdown(report);
    if (report.find("pipeline") != nullptr) check_pipeline(report);
    check_communication(report);
    check_critical_path(report);
    if (is_model_run(report)) check_model_keys(report);
    if (report.find("steps") != nullptr) check_steps(report);
    CHECK(!member(report, {"engine", "kind"}).text.empty());
    for (const std::string_view key : {"tasks", "events", "wall_s"})
      CHECK(number_at(report, {"engine", key}) > 0);
  }
}

TEST_CASE("Keys that do not apply are absent: no routing without experts, no pipeline sends on one rank") {
  const Value tiny = json_report("scenarios/two-gpus.json");
  CHECK(tiny.find("routing") != nullptr);
  CHECK(member(tiny, {"communication"}).find("pipeline") == nullptr);
  CHECK(member(tiny, {"communication"}).find("tensor") == nullptr);
  CHECK(member(tiny, {"communication"}).find("dispatch") != nullptr);
  const Value dense =
      json_report("scenarios/two-gpus.json", {"--set", "model=configs/models/llama3-70b.json", "--set",
                                              "parallelism.expert=1", "--set", "parallelism.pipeline=2"});
  CHECK(dense.find("routing") == nullptr);
  CHECK(dense.find("steps") == nullptr);
  CHECK(member(dense, {"communication"}).find("dispatch") == nullptr);
  CHECK(member(dense, {"communication"}).find("pipeline") != nullptr);
}

TEST_CASE("Routing has a busiest expert for each layer, and a cost, only where loads are uneven") {
  const Value even = member(json_report("scenarios/two-gpus.json"), {"routing"});
  CHECK(even.find("busiest_experts") == nullptr);
  CHECK(even.find("imbalance_cost_s") == nullptr);
  const Value report = json_report("scenarios/two-gpus.json",
                                   {"--set", "routing.kind=top_k", "--set", "routing.skew.kind=zipf"});
  const Value& routing = member(report, {"routing"});
  CHECK(member(routing, {"busiest_experts"}).items.size() == 2);
  CHECK(number_at(routing, {"imbalance_cost_s"}) > 0);
  CHECK(number_at(routing, {"imbalance_cost_s"}) < number_at(report, {"step_time_s"}));
  CHECK(number_at(routing, {"rank_load_max_over_mean"}) <= number_at(routing, {"load_max_over_mean"}));
  CHECK(number_at(routing, {"per_expert_tokens", "most"}) ==
        Approx(number_at(routing, {"per_expert_tokens", "mean"}) * number_at(routing, {"load_max_over_mean"}))
            .epsilon(0.001));
  const Value padded = json_report(
      "scenarios/two-gpus.json",
      {"--set", "routing.kind=switch", "--set", "model.moe.top_k=1", "--set", "routing.capacity_factor=1"});
  CHECK(number_at(padded, {"routing", "dropped_token_fraction"}) > 0);
  CHECK(number_at(padded, {"routing", "dropped_token_fraction"}) ==
        Approx(number_at(padded, {"routing", "padded_row_fraction"})));
}

TEST_CASE("The scenario in a report, fed back, gives the same report") {
  using Options = std::vector<std::string>;
  const Folder folder("again");
  const std::string loads = folder.write("loads.csv", "layer,expert,tokens\n0,0,9\n0,1,1\n0,2,1\n0,3,1\n");
  const std::pair<std::string, Options> all[] = {
      {"scenarios/two-gpus.json", {}},
      {"scenarios/two-gpus.json",
       {"--set", "cluster.topology.nvlink_rate=100 GB/s", "--set", "model.layers=6", "--set",
        "schedule.kind=gpipe", "--set", "recompute=full", "--engine", "ideal"}},
      {"scenarios/two-gpus.json",
       {"--set", R"(routing={"kind": "top_k", "skew": {"kind": "zipf"}, "seed": 7})"}},
      {"scenarios/zero-bubble-6.2b.json", {"--set", "schedule.kind=zb_v"}},
      {"scenarios/validation/nccl-all-reduce.json", {"--set", "communication.bytes=1 MiB"}},
      {"scenarios/straggler.json", {}},
      {"scenarios/deepseek-v3-h800.json", {"--set", "batch.sequences=7680"}},
      {"scenarios/sweeps/infiniband.json", {}},
      {"scenarios/two-gpus.json",
       {"--set", R"(routing={"kind": "top_k", "skew": {"kind": "replay", "file": ")" + loads + R"("}})"}}};
  for (const auto& [scenario, options] : all) {
    INFO(scenario);
    Value first = json_report(scenario, options);
    const Outcome outcome =
        run_moesim({"run", "-", "--format", "json"}, write_json(member(first, {"scenario"})));
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    Value again = parse_json(outcome.out, "again");
    for (Value* report : {&first, &again}) {
      std::erase_if(report->find("engine")->members,
                    [](const auto& member) { return member.first == "wall_s"; });
    }
    CHECK(first_difference(write_json(first), write_json(again)) == "");
  }
}

TEST_CASE("A report names what the command line changed, and on its first lines that it does not fit") {
  const auto printed = [](std::vector<std::string> options) {
    options.insert(options.begin(), {"run", "scenarios/two-gpus.json"});
    return lines_of(run_moesim(options).out);
  };
  const std::string about = "The smallest scenario that has everything: two GPUs, one node, one MoE model";
  const std::vector<std::string> plain = printed({});
  CHECK(plain[0] == about);
  CHECK(plain[1] == "EP 2 x DP 2, 1f1b, microbatch 1, zero1, ideal, 2 x H100, moesim 0.3");
  const std::vector<std::string> changed =
      printed({"--set", "schedule.kind=gpipe", "--set", "batch.sequences=16", "--set",
               "cluster.device.memory=1 MiB"});
  CHECK(changed[0] == about + ", with cluster.device.memory=1 MiB, batch.sequences=16, schedule.kind=gpipe");
  CHECK(changed[1] == "EP 2 x DP 2, gpipe, microbatch 1, zero1, ideal, 2 x H100, moesim 0.3");
  CHECK(changed[3].starts_with("  DOES NOT FIT   "));
  CHECK(printed({"--set", "about=Mine", "--set", "schedule.kind=gpipe"})[0] == "Mine");
}

TEST_CASE("MFU counts what its convention says of causal attention, and a report has both") {
  const auto mfu = [](const Value& report, std::string_view key) { return number_at(report, {key}); };
  const Value causal = json_report("scenarios/two-gpus.json");
  CHECK(member(causal, {"mfu_attention"}).text == "causal");
  CHECK(mfu(causal, "mfu") == mfu(causal, "mfu_causal"));
  CHECK(mfu(causal, "mfu_whole") > mfu(causal, "mfu_causal"));
  const Value whole = json_report("scenarios/two-gpus.json", {"--set", "mfu_attention=whole"});
  CHECK(member(whole, {"fingerprint"}).text == member(causal, {"fingerprint"}).text);
  CHECK(mfu(whole, "mfu") == mfu(causal, "mfu_whole"));
  CHECK(mfu(whole, "mfu_causal") == mfu(causal, "mfu"));
  // What MFU counts and what FLOPs a token has are one convention.
  CHECK(mfu(whole, "model_flops_per_token") / mfu(causal, "model_flops_per_token") ==
        Approx(mfu(whole, "mfu") / mfu(causal, "mfu")));
}

TEST_CASE("A report as CSV is a header and one row with as many fields") {
  std::vector<std::string> lines =
      lines_of(run_moesim({"run", "scenarios/two-gpus.json", "--set", "about=plain", "--format", "csv"}).out);
  REQUIRE(lines.size() == 2);
  const std::string plan = R"("EP 2 x DP 2, 1f1b, microbatch 1, zero1, ideal, 2 x H100, moesim 0.3")";
  const std::size_t place = lines[1].find("," + plan + ",");
  REQUIRE(place != std::string::npos);
  lines[1].replace(place + 1, plan.size(), "plan");
  CHECK(std::count(lines[0].begin(), lines[0].end(), ',') ==
        std::count(lines[1].begin(), lines[1].end(), ','));
  CHECK(lines[0].starts_with("about,fingerprint,step_time_s,"));
  CHECK(lines[0].find(",bubble_mean,plan,products_s,") != std::string::npos);
}

TEST_CASE("The ideal engine is never slower than the fluid one") {
  for (const std::string& scenario : project_files("scenarios", ".json")) {
    if (scenario.ends_with("failures.json")) continue;  // twenty times a step of another scenario
    INFO(scenario);
    CHECK(number_at(json_report(scenario, {"--engine", "ideal"}), {"step_time_s"}) <=
          number_at(json_report(scenario, {"--engine", "fluid"}), {"step_time_s"}) + 1e-9);
  }
}
