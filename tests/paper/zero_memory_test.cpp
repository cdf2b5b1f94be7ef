// Figure 1 of ZeRO (arXiv 1910.02054): what a device holds of a model of 7.5 billion parameters on 64
// devices, in mixed precision with Adam: 120, 31.4, 16.6 and 1.9 GB.
#include <catch2/catch.hpp>

#include "sim/read/scenario.hpp"
#include "sim/report/report.hpp"

using namespace moesim;

namespace {

/// GB of parameters, gradients and optimizer on a device, for as many parameters as the figure has.
double gigabytes(const std::string& kind) {
  const std::string text =
      R"({"model": "configs/models/llama3-70b.json", "software": {"kind": "ideal"},
      "cluster": "configs/clusters/h100-64.json",
          "batch": {"sequences": 64, "sequence_length": 4096},
          "precision": {"gradient": "bf16", "moments": "fp32"},
          "gradient_sync": {"kind": ")" +
      kind + R"("}})";
  const Scenario scenario = read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json"));
  const MemoryReport memory = memory_of_ranks(work_of(scenario)).front();
  const auto held = static_cast<double>((memory.parameters + memory.gradients + memory.optimizer).count);
  return 7.5 * held / static_cast<double>(model_parameters(scenario.model).total());
}

}  // namespace

TEST_CASE("What each stage of ZeRO holds is what its figure 1 says") {
  CHECK(gigabytes("all_reduce") == Approx(120).margin(0.05));
  CHECK(gigabytes("zero1") == Approx(31.4).margin(0.05));
  CHECK(gigabytes("zero2") == Approx(16.6).margin(0.05));
  CHECK(gigabytes("zero3") == Approx(1.9).margin(0.05));
  CHECK(gigabytes("fsdp") == Approx(1.9).margin(0.05));
}
