// Laws of every optimizer, however it runs: times by class, the estimate against the engine, memory.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <optional>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/search/search.hpp"
#include "sim/work/update.hpp"
#include "tests/support/drawn.hpp"

using namespace moesim;

namespace {

constexpr std::string_view ways[] = {"fused", "foreach", "for_loop"};

std::string part(std::string_view kind, std::string_view way) {
  return fmt::format(R"(optimizer={{"kind": "{}", "implementation": "{}", "clip": true}})", kind, way);
}

std::optional<Scenario> drawn(std::uint64_t number, const std::string& optimizer) {
  testing::Drawn one = testing::draw(Random(71).stream("optimizers", number));
  one.batch = fmt::format(R"({{"sequences": {}, "sequence_length": 256}})", one.devices * 4);
  const std::string software = number % 2 == 0 ? "ideal" : "hugging_face";
  try {
    Value document = load_document_text(one.text(), MOESIM_SOURCE "/drawn.json");
    for (const std::string& set : {optimizer, fmt::format(R"(software={{"kind": "{}"}})", software)})
      apply_override(document, parse_override(set));
    return read_scenario(document);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

Scenario mixtral(const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario(MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json", overrides);
}

}  // namespace

TEST_CASE("Times by class of kernel add up under every optimizer, whoever updates") {
  for (const std::string_view kind : member_names(optimizers())) {
    int tried = 0;
    for (std::uint64_t number = 0; number < 40; ++number) {
      const std::optional<Scenario> scenario = drawn(number, part(kind, ways[number % 3]));
      if (!scenario) continue;
      INFO(kind << " " << number);
      std::optional<Report> report;
      try {
        report = simulate_step(*scenario).report;
      } catch (const InputError&) {  // a collective refuses the groups
        continue;
      }
      const Breakdown& parts = report->breakdown;
      double sum = 0;
      for (const KernelReport& kernels : report->kernels) sum += to_seconds(kernels.time);
      const KernelReport& update = at(report->kernels, KernelClass::update);
      CHECK(update.time.count > 0);
      CHECK(update.bytes.count > 0);
      CHECK(update.launches > 0);
      if (number % 2 == 0) CHECK(sum == Approx(to_seconds(parts.compute + parts.optimizer)).epsilon(1e-9));
      CHECK(to_seconds(update.time) <= to_seconds(parts.optimizer) * (1 + 1e-9));
      ++tried;
    }
    CHECK(tried > 6);
  }
}

TEST_CASE(
    "The update that a search estimates is what the engine takes, by device and by host, however it is "
    "shared") {
  for (const std::string_view kind : member_names(optimizers())) {
    for (const std::string_view way : ways) {
      for (const std::string software : {"ideal", "hugging_face"}) {
        INFO(kind << " " << way << " " << software);
        const Scenario scenario =
            mixtral({"parallelism.pipeline=1", "schedule.kind=1f1b", "gradient_sync.kind=all_reduce",
                     "recompute=[]", "software.kind=" + software, part(kind, way)});
        const HeldElements held = held_elements(scenario, 0);
        const UpdateSeconds each = update_seconds(scenario);
        const std::vector<Weight> weights = weights_of_rank(scenario, 0);
        // Adafactor reads results between its passes: how much of its launches that hides depends on sizes.
        if (kind == "adafactor" && software != "ideal") continue;
        // Launches over lists are even here, and whole numbers there.
        for (const std::int64_t owners : {1, 8}) {
          const Updated part = updated_part(held, {owners, owners}, weights);
          const Timed run = sum_of(update_ops(scenario, part), scenario).timed();
          CHECK(each.device.seconds(part) ==
                Approx(to_seconds(std::max(run.time, run.host.device))).epsilon(0.02));
          CHECK(each.host.seconds(part) == Approx(to_seconds(run.host.issue)).epsilon(0.02));
        }
      }
    }
  }
}

TEST_CASE("The memory that a search estimates is what a run reports, under every optimizer") {
  for (const std::string_view kind : member_names(optimizers())) {
    for (const std::string_view way : ways) {
      SearchRequest request{.path = MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json",
                            .overrides = {},
                            .simulate = 6,
                            .jobs = 2};
      for (const std::string& set :
           {part(kind, way), std::string("search.context=[1]"), std::string("search.microbatch=[1]"),
            std::string("search.pipeline=[2]"), std::string("search.expert=[8]"),
            std::string("search.schedule=[\"1f1b\"]")})
        request.overrides.push_back(parse_override(set));
      const std::vector<FoundPlan> plans = search(request).result.simulated;
      REQUIRE(!plans.empty());
      for (const FoundPlan& plan : plans) {
        INFO(kind << " " << way << ", " << plan.gradient_sync << ", tensor " << plan.sizes.tensor);
        const auto reported = static_cast<double>(plan.report->memory_peak().count);
        CHECK(plan.estimated_memory <= 1.0000001 * reported);
        CHECK(plan.estimated_memory > 0.995 * reported);
      }
    }
  }
}

TEST_CASE("What an update takes falls with the ranks that share it") {
  for (const std::string_view kind : member_names(optimizers())) {
    const auto optimizer_time = [&](const std::string& sync) {
      return simulate_step(mixtral({"parallelism.pipeline=1", "schedule.kind=1f1b",
                                    "gradient_sync.kind=" + sync, part(kind, "fused")}))
          .report.breakdown.optimizer;
    };
    const Time whole = optimizer_time("all_reduce"), shared = optimizer_time("zero1");
    INFO(kind);
    CHECK(shared < whole);
    CHECK(shared > Time{});
  }
}
