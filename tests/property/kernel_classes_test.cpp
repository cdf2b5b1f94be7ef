// Classes of kernels against the breakdown of a step, over random scenarios and every software.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <optional>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "tests/support/drawn.hpp"

using namespace moesim;
using testing::Drawn;

namespace {

std::optional<Scenario> drawn(std::uint64_t number, std::string_view software) {
  Drawn one = testing::draw(Random(33).stream("kernels", number));
  one.batch = fmt::format(R"({{"sequences": {}, "sequence_length": 256}})", one.devices * 4);
  try {
    Value document = load_document_text(one.text(), MOESIM_SOURCE "/drawn.json");
    apply_override(document, parse_override(fmt::format(R"(software={{"kind": "{}"}})", software)));
    if (software == "deepseek") apply_override(document, parse_override("precision.gemm=fp8"));
    if (software == "xla")  // of TPUs
      apply_override(document, parse_override("cluster.device=configs/devices/tpu-v3.json"));
    if (software == "megatron_deepspeed")  // has dense models alone
      for (const char* set : {"model.moe=null", "parallelism.expert=1"})
        apply_override(document, parse_override(set));
    return read_scenario(document);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

}  // namespace

TEST_CASE("Times by class of kernel add up to compute, update and waits, under every software") {
  for (const std::string_view software : member_names(softwares())) {
    int tried = 0;
    for (std::uint64_t number = 0; number < 60; ++number) {
      const std::optional<Scenario> scenario = drawn(number, software);
      if (!scenario) continue;
      INFO(software << " " << number);
      std::optional<Report> report;
      try {
        report = simulate_step(*scenario).report;
      } catch (const InputError&) {  // a collective refuses the groups
        continue;
      }
      double sum = 0;
      for (const KernelReport& kernels : report->kernels) sum += to_seconds(kernels.time);
      const Breakdown& parts = report->breakdown;
      CHECK(sum == Approx(to_seconds(parts.compute + parts.optimizer + parts.host)).epsilon(1e-9));
      for (std::size_t i = 0; i + 1 < kernel_class_count; ++i) {
        const KernelReport& kernels = report->kernels[i];
        CHECK((kernels.time.count > 0) == (kernels.launches > 0));
        CHECK((kernels.time.count > 0) == (kernels.bytes.count > 0));
      }
      ++tried;
    }
    CHECK(tried > 10);
  }
}
