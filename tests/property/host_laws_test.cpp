// What a host does to a step, whatever the model.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "sim/read/scenario.hpp"
#include "sim/run/repeat.hpp"
#include "sim/work/tensors.hpp"

using namespace moesim;

namespace {

const std::string no_host =
    R"("host_forward": "0 s", "host_backward": "0 s", "host_update": "0 s", "host_call": "0 s", "host_unit": "0 s", "host_weight": "0 s", "host_start": "0 s")";

const std::string small =
    R"({"name": "small", "hidden": 1024, "vocabulary": 8192, "layers": 2, "attention": {"kind": "grouped_query", "heads": 8, "kv_heads": 2}, "moe": {"experts": 8, "top_k": 2, "width": 2048}})";

/// Two layers of eight experts on one device, with these keys of its software and of the scenario.
Report run_with(const std::string& software, const std::vector<std::string>& sets = {}) {
  RunRequest request{.path = MOESIM_SOURCE "/scenarios/validation/hugging-face-h200.json", .overrides = {}};
  request.overrides.push_back(parse_override("model=" + small));
  request.overrides.push_back(parse_override(R"(software={"kind": "hugging_face")" + software + "}"));
  request.overrides.push_back(parse_override("batch.sequence_length=512"));
  for (const std::string& set : sets) request.overrides.push_back(parse_override(set));
  return run(request).simulation.report;
}

Time step(const std::string& software, const std::vector<std::string>& sets = {}) {
  return run_with(software, sets).step_time;
}

}  // namespace

TEST_CASE("A slowed device is waited for as long as it takes, and reads take what they take") {
  const std::string waits = R"(, "experts": "eager", "host_wait": "1 ms", )" + no_host;
  const std::string none = R"(, "experts": "eager", "host_wait": "0 s", )" + no_host;
  const std::vector<std::string> slow{R"(faults.stragglers=[{"device": 0, "slowdown": 2}])"};
  const Time kernels = step(none), with_waits = step(waits);
  CHECK(with_waits > kernels + Time{50'000'000'000});
  CHECK(to_seconds(step(none, slow)) == Approx(to_seconds(kernels * 2)).epsilon(1e-9));
  // Where a block goes on for long behind its last wait, the host is taken to have that wait as on a device
  // that nothing slows.
  CHECK(to_seconds(step(waits, slow)) == Approx(to_seconds(kernels + with_waits)).epsilon(0.003));
}

TEST_CASE("A slower host never shortens a step, and a fast one leaves the kernels' time") {
  const Time free = step(", " + no_host + R"(, "host_wait": "0 s")");
  Time before = free;
  for (const int us : {1, 5, 20, 80, 320}) {
    const std::string each =
        fmt::format(R"(, "host_forward": "{0} us", "host_backward": "{0} us", "host_update": "{0} us")", us);
    const Time now = step(each);
    CHECK(now >= before);
    before = now;
  }
  CHECK(before > free * 3);
  const Report fast = run_with(", " + no_host + R"(, "host_wait": "0 s")");
  CHECK(fast.breakdown.host == Time{});
}

TEST_CASE("What the host holds up is what a step is longer by on one device") {
  const Report held = run_with("");
  const Time free = step(", " + no_host + R"(, "host_wait": "0 s")");
  CHECK(held.breakdown.host > Time{});
  CHECK(held.step_time - held.breakdown.host == free);
}

TEST_CASE("Graphs of the iteration hold up less than graphs of layers, these less than launches") {
  const Time none = step(""), layer = step(R"(, "cuda_graphs": "layer")"),
             iteration = step(R"(, "cuda_graphs": "iteration")");
  CHECK(iteration < layer);
  CHECK(layer < none);
}

TEST_CASE("Each weight whose gradient is a pass of its own takes the host its time, and no other") {
  constexpr std::int64_t microbatches = 3;
  const auto seconds = [&](const std::string& schedule, int of_weight) {
    std::string with_weight = no_host;
    const std::string key = R"("host_weight": "0)";
    with_weight.replace(with_weight.find(key), key.size(), fmt::format(R"("host_weight": "{})", of_weight));
    return step(fmt::format(R"(, {}, "host_wait": "0 s")", with_weight),
                {"schedule.kind=" + schedule, fmt::format("batch.sequences={}", microbatches)});
  };
  const Scenario scenario = load_scenario(MOESIM_SOURCE "/scenarios/validation/hugging-face-h200.json",
                                          {parse_override("model=" + small)});
  std::int64_t weights = 0;
  for (const std::int64_t layer : {0, 1})
    for (const Activity block : {Activity::attention, Activity::feed_forward})
      weights += block_tensors(scenario, block, layer).count();
  CHECK(weights == 2 * (5 + 4));  // four matrices and a norm; the router, two stacks of experts and a norm
  for (const Activity end : {Activity::embedding, Activity::head})
    weights += block_tensors(scenario, end, -1).count();
  CHECK(seconds("1f1b", 1) == seconds("1f1b", 0));
  CHECK(seconds("zb_h1", 2) - seconds("zb_h1", 1) == Time{1'000'000'000'000} * (weights * microbatches));
}
