// Which axis of a sweep goes where in its picture.
#include "sim/sweep/sweep_plot.hpp"

#include <catch2/catch.hpp>
#include <filesystem>

#include "models/base/error.hpp"
#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

Outcome drawn(const std::vector<std::string>& options) {
  std::vector<std::string> arguments{"sweep", "scenarios/two-gpus.json", "--svg", "-"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  return run_moesim(arguments);
}

bool has(const Outcome& outcome, const std::string& words) {
  return outcome.out.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE(
    "A sweep over numbers is a curve, over names as well a curve for each, over two numbers a heat map") {
  const Outcome curve = drawn({"--over", "batch.microbatch=1,2,4"});
  CHECK(curve.code == 0);
  CHECK(has(curve, ">batch.microbatch<"));
  CHECK(has(curve, ">step time (ms)<"));
  const Outcome curves =
      drawn({"--over", "batch.microbatch=1,2,4", "--over", "routing.kind=balanced,top_k", "--plot", "mfu"});
  CHECK(has(curves, ">MFU (%)<"));
  CHECK(has(curves, ">routing.kind<"));
  CHECK(has(curves, "balanced"));
  const Outcome map = drawn({"--over", "batch.microbatch=1,2", "--over", "batch.sequence_length=512,1024",
                             "--plot", "peak_memory"});
  CHECK(has(map, "class=\"cell\""));
  CHECK(has(map, ">peak memory (GB)<"));
  const Outcome names = drawn({"--over", "routing.kind=balanced,top_k"});
  CHECK(has(names, ">top_k<"));
  CHECK(!has(names, "class=\"curve\""));  // names have no way between them
}

TEST_CASE("Quantities with one unit are numbers, and the axis says the unit") {
  const Outcome rates =
      drawn({"--over", "cluster.topology.nvlink_rate=\"100 GB/s\",\"200 GB/s\",\"400 GB/s\"", "--plot",
             "communication.dispatch.busy_s"});
  INFO(rates.err);
  CHECK(has(rates, ">cluster.topology.nvlink_rate (GB/s)<"));
  CHECK(has(rates, ">dispatch busy (us)<"));
  CHECK(has(rates, "class=\"curve\""));
}

TEST_CASE("Keys that change together are one axis under the first of them, and about names curves") {
  const Folder folder("sweep-names");
  const std::string scenario =
      folder.write("x.json", R"({"extends": ")" + std::filesystem::absolute(MOESIM_SOURCE).string() +
                                 R"(/scenarios/two-gpus.json",
    "sweep": [{"about": ["even", "skewed"], "routing.kind": ["balanced", "top_k"]}, {"batch.microbatch": [1, 2, 4]}]})");
  const Outcome outcome = run_moesim({"sweep", scenario, "--svg", "-"});
  INFO(outcome.err);
  CHECK(outcome.out.find("even") != std::string::npos);
  CHECK(outcome.out.find("skewed") != std::string::npos);
  CHECK(outcome.out.find("routing.kind") == std::string::npos);
}

TEST_CASE("Several measures are pictures one below the other") {
  const Outcome outcome =
      drawn({"--over", "batch.microbatch=1,2,4", "--plot", "mfu", "--plot", "bubble_fraction"});
  CHECK(has(outcome, ">MFU (%)<"));
  CHECK(has(outcome, ">bubble of the slowest rank (%)<"));
}

TEST_CASE("What cannot be drawn is refused before anything runs, a number that no report has after it") {
  const auto refusal = [](const Outcome& outcome) {
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    return lines_of(outcome.err).at(0);
  };
  CHECK(refusal(drawn({"--over", "batch.microbatch=1,2", "--over", "batch.sequences=8,16", "--over",
                       "batch.sequence_length=512,1024"})) ==
        "error: --svg: a picture has one or two axes, or one of numbers and at most 20 curves of names; this "
        "sweep has 3: batch.microbatch, batch.sequences, batch.sequence_length");
  CHECK(refusal(drawn({"--over", "batch.microbatch=1,2", "--plot", "mfo"})) ==
        "error: --plot: unknown 'mfo' (known: step_time_s, tokens_per_s_per_device, mfu, bubble_fraction, "
        "exposed_communication_s, peak_memory, bubble_mean, bubble_most, products_s, grouped_s, attention_s, "
        "streaming_s, gather_scatter_s, loss_s, update_s, gaps_s, host_s, joules, joules_per_token, "
        "mean_power_w, clock, limit_cost_s, wall_clock_s, device_hours, kwh, cost, carbon_kg, "
        "step_time_low_s, step_time_high_s, run_tokens_per_s, run_time_s, run_rank_load_max_over_mean, "
        "moved_bytes, moving_waiting_s, tokens_per_s, "
        "model_flops_per_token, "
        "tflops_per_device, mfu_causal, mfu_whole; did you mean 'mfu'?)");
  CHECK(refusal(drawn({"--over", "batch.microbatch=1,2", "--plot", "memory..peak"}))
            .starts_with("error: --plot: unknown 'memory..peak'"));
  CHECK(refusal(drawn({"--over", "batch.microbatch=1,2", "--plot", "communication.tensor.busy_s"})) ==
        "error: --plot: no point of this sweep has the number 'communication.tensor.busy_s'");
}
