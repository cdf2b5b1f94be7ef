// What a scenario gets that says little of its software, and what software is refused where.
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;

namespace {

const std::string bare = MOESIM_SOURCE "/scenarios/bare/mixtral-8x22b.json";
const std::string tpu = MOESIM_SOURCE "/scenarios/switch-base-128-tpu-v3.json";

Scenario loaded(const std::string& path, const std::vector<std::string>& sets = {}) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario(path, overrides);
}

std::string refusal(const std::string& path, const std::vector<std::string>& sets) {
  try {
    static_cast<void>(loaded(path, sets));
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const std::string flex = R"(software={"kind": "megatron_core", "moe_token_dispatcher_type": "flex"})";

}  // namespace

TEST_CASE("A GPU scenario that says nothing of software and collectives gets Megatron-Core with NCCL") {
  const Scenario scenario = loaded(bare);
  CHECK(scenario.software_name == "megatron_core");
  CHECK(scenario.collectives.kernels == CommunicationKernels::nccl);
  std::vector<std::string> said{"software.kind=megatron_core"};
  for (const std::string way :
       {"dispatch", "combine", "gradients", "parameters", "tensor", "context", "expert_tensor"})
    said.push_back("collectives." + way + R"(={"kind": "nccl", "generation": "hopper"})");
  said.emplace_back("parallelism.context_exchange=all_gather");
  CHECK(simulate(scenario).report.fingerprint == simulate(loaded(bare, said)).report.fingerprint);
  CHECK(loaded(tpu, {"software={}"}).software_name == "ideal");
}

TEST_CASE("Collectives are rings where software is ideal, or where NCCL is not known on the device") {
  const std::string ring = R"({"kind": "ring"})", pairs = R"({"kind": "pairwise"})";
  std::vector<std::string> in_rings{"collectives.dispatch=" + pairs, "collectives.combine=" + pairs};
  for (const std::string way : {"gradients", "parameters", "tensor", "expert_tensor"})
    in_rings.push_back("collectives." + way + "=" + ring);
  for (const std::string set : {"software.kind=ideal", "cluster.device.generation=none"}) {
    std::vector<std::string> said = in_rings;
    said.push_back(set);
    CHECK(simulate(loaded(bare, {set})).report.fingerprint ==
          simulate(loaded(bare, said)).report.fingerprint);
  }
}

TEST_CASE("Tokens are exchanged by the library of the dispatcher, and another's kernels are refused") {
  CHECK(loaded(bare, {flex}).collectives.dispatch->usual_multiprocessors() > 0);
  CHECK(contains(refusal(bare, {R"(collectives.experts={"kind": "deepep"})"}),
                 "collectives.experts: is 'deepep', but the software exchanges tokens with 'nccl'"));
  CHECK(contains(refusal(bare, {flex, R"(collectives.dispatch={"kind": "nccl"})"}),
                 "collectives.dispatch: is 'nccl', but the software exchanges tokens with 'deepep'"));
  CHECK(refusal(bare, {flex, R"(collectives.dispatch={"kind": "pairwise"})"}) == "accepted");
}

TEST_CASE("Software is refused on devices that it does not run on, and with models that it does not have") {
  CHECK(contains(refusal(tpu, {"software.kind=megatron_core"}),
                 "software: is megatron_core, which runs on GPUs, but TPU v3 core is none"));
  CHECK(contains(refusal(bare, {R"(software={"kind": "megatron_core", "fp8_recipe": "mxfp8"})"}),
                 "software.fp8_recipe: is of blackwell and later, but H100 is of hopper"));
  CHECK(contains(refusal(bare, {"software.kind=megatron_deepspeed"}),
                 "software: is megatron_deepspeed, whose models are dense, but 'mixtral-8x22b' has experts"));
  CHECK(contains(refusal(bare, {"software.kind=hugging_face", "precision.gemm=fp8"}),
                 "precision.gemm: is fp8"));
  const std::string graphs = R"(software={"kind": "megatron_core", "cuda_graph_scope": ["full_iteration"]})";
  CHECK(contains(refusal(bare, {graphs}), "holds no dispatch that the host waits for"));
  CHECK(refusal(MOESIM_SOURCE "/scenarios/validation/llama3-70b-b200.json", {graphs}) == "accepted");
}

TEST_CASE("A key that ideal once had is refused, and where it is now is said") {
  const std::string message = refusal(bare, {R"(software={"kind": "ideal", "permutation": "separate"})"});
  CHECK(contains(message, "software.permutation: is no key of ideal"));
  CHECK(contains(message, "'file'"));
  CHECK(contains(message, "megatron_core says it by 'moe_permute_fusion'"));
}

TEST_CASE("NCCL's generation is the device's where it is not given, and must be given where that has none") {
  const std::string nccl = R"(collectives.tensor={"kind": "nccl"})";
  CHECK(refusal(bare, {nccl}) == "accepted");
  CHECK(contains(refusal(bare, {nccl, "cluster.device.generation=none"}),
                 "collectives.tensor.generation: is that of the cluster's device, which has none"));
}
