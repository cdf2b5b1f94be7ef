// The forms of "recompute", and what Megatron-Core's arguments refuse.
#include <catch2/catch.hpp>

#include <string>
#include <vector>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "sim/read/recompute.hpp"
#include "sim/read/scenario.hpp"

using namespace moesim;

namespace {

const std::string plain = MOESIM_SOURCE "/scenarios/two-gpus.json";
const std::string latent = MOESIM_SOURCE "/scenarios/deepseek-v3-h800.json";
const std::string fp8 = MOESIM_SOURCE "/scenarios/validation/qwen3-30b-h100.json";

Scenario loaded(const std::string& path, const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario(path, overrides);
}

Recompute recompute(const std::string& value, const std::string& path = plain) {
  return loaded(path, {"recompute=" + value}).recompute;
}

std::string refusal(const std::string& path, const std::vector<std::string>& sets) {
  try {
    static_cast<void>(loaded(path, sets));
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

bool refuses(const std::string& value, const std::string& part, const std::string& path = plain,
             std::vector<std::string> more = {}) {
  more.push_back("recompute=" + value);
  const std::string what = refusal(path, more);
  INFO(what);
  CHECK(what.find(part) != std::string::npos);
  return what.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("Megatron-Core's arguments as an object say the same as the names of a list") {
  CHECK(recompute(R"({"granularity": "full", "method": "block", "layers": 2})") ==
        recompute(R"(["block=2"])"));
  CHECK(recompute(R"({"granularity": "full", "method": "uniform", "layers": 2})") ==
        recompute(R"(["uniform=2"])"));
  CHECK(recompute(R"({"modules": ["core_attn", "moe_act"]})") == recompute(R"(["attention", "moe_act"])"));
  CHECK(recompute("{}") == recompute(R"(["core_attn"])"));  // as Megatron-Core has it
  CHECK(recompute(R"({"modules": ["mla_up_proj"]})", latent) == recompute(R"(["latent"])", latent));
  for (const std::string names : {R"(["block=2"])", R"(["moe", "layernorm"])", "[]", R"("full")"}) {
    const Recompute read = recompute(names);
    std::string again = "[";
    for (const std::string& name : names_of(read)) again += (again == "[" ? "\"" : ", \"") + name + "\"";
    CHECK(recompute(again + "]") == read);
  }
}

TEST_CASE("Arguments that Megatron-Core refuses together are refused, each at its key") {
  refuses(R"({"granularity": "full", "layers": 1})", "recompute.method: is missing");
  refuses(R"({"granularity": "full", "method": "block"})", "recompute.layers: is missing");
  refuses(R"({"granularity": "full", "method": "block", "layers": 0})", "recompute.layers: is 0");
  refuses(R"({"granularity": "full", "method": "block", "layers": 3})",
          "recompute: has 3 layers, expected at most the 2 of a stage");
  refuses(R"({"granularity": "full", "method": "block", "layers": 1, "modules": ["moe"]})",
          "recompute.modules");
  refuses(R"({"granularity": "selective", "method": "block"})", "recompute.method: is given");
  refuses(R"({"layers": 2})", "recompute.layers: is given");
  refuses(R"({"modules": ["experts"]})", "unknown 'experts' (known: core_attn, moe_act");
  refuses(R"(["block=2", "moe"])", "beside whole layers");
  refuses(R"(["block=2", "uniform=1"])", "names uniform=1 beside another");
  refuses(R"(["block"])", "unknown 'block'");
  refuses(R"(["block=-1"])", "unknown 'block=-1'");
}

TEST_CASE("What is named must be there") {
  refuses(R"(["mla_up_proj"])", "has no latent attention");
  refuses(R"(["shared_experts"])", "names shared_experts, but the model");
  refuses(R"(["mlp"])", "no dense feed-forward");
  refuses(R"(["moe"])", "has none", MOESIM_SOURCE "/scenarios/validation/llama3-70b-h200.json",
          {"software={\"kind\": \"ideal\"}"});
  refuses(R"(["shared_experts"])", "in_turn", latent, {"collectives.shared_experts=beside"});
  refuses(R"(["moe"])", "whole layers or nothing", plain, {R"(software={"kind": "hugging_face"})"});
}

TEST_CASE("Megatron-Core goes over no whole layers beside other passes, and casts none of them late") {
  const std::vector<std::string> megatron{R"(software={"kind": "megatron_core"})"};
  const std::vector<std::string> overlapped{R"(software={"kind": "megatron_core"})",
                                            R"(schedule={"kind": "1f1b", "overlap": true})"};
  CHECK(recompute(R"(["moe"])").moe);
  for (const char* value : {R"(["block=1"])", R"(["uniform=1"])", R"(["moe"])"})
    refuses(value, "which Megatron-Core does not overlap", plain, overlapped);
  for (const char* value : {R"(["layernorm"])", R"(["moe_act"])"}) {
    refuses(value, "which delayed scaling does not go with", fp8, {"software.fp8_recipe=delayed"});
    CHECK(refusal(fp8, {std::string("recompute=") + value}) == "accepted");
  }
  refuses(R"(["moe_act"])", "expected software.moe_grouped_gemm", plain,
          {R"(software={"kind": "megatron_core", "moe_grouped_gemm": false})"});
}

TEST_CASE("What is computed again whole does not go to the host") {
  const std::string modules = R"(offload={"modules": ["expert_fc1"]})";
  refuses(R"(["block=1"])", "recompute has full", plain, {modules});
  refuses(R"(["moe"])", "recompute has moe", plain, {modules});
  refuses(R"(["layernorm"])", "whole layers go to the host without", plain, {R"(offload={"layers": 1})"});
}
