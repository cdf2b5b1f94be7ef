// Laws of a search: what it finds does not depend on who asks first, its estimate knows every key of every
// collective, and no plan is listed twice.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/collective/collective.hpp"
#include "sim/search/search.hpp"
#include "tests/support/folder.hpp"

using namespace moesim;

namespace {

SearchResult found(const std::string& path, const std::vector<std::string>& sets, std::size_t simulate,
                   unsigned jobs = 1) {
  SearchRequest request{.path = path, .overrides = {}, .simulate = simulate, .jobs = jobs};
  for (const std::string& set : sets) request.overrides.push_back(parse_override(set));
  return search(request).result;
}

/// Overrides of `two-gpus` that make another cluster, model and routing.
std::vector<std::string> random_search(std::uint64_t number) {
  RandomStream random = Random(11).stream("search", number);
  const auto one_of = [&](const std::vector<std::string>& words) {
    return words[static_cast<std::size_t>(random.below(words.size()))];
  };
  return {"cluster.devices=" + one_of({"4", "8"}),
          "model.moe.experts=" + one_of({"4", "8", "16"}),
          "model.moe.top_k=" + one_of({"1", "2", "3"}),
          "batch.sequence_length=" + one_of({"256", "1024"}),
          one_of({R"(routing={"kind": "top_k", "skew": {"kind": "zipf"}})",
                  R"(routing={"kind": "top_k", "skew": {"kind": "dirichlet", "concentration": 0.5}})",
                  R"(routing={"kind": "switch", "skew": {"kind": "zipf", "exponent": 0.7}})",
                  R"(routing={"kind": "top_k", "skew": {"kind": "zipf"}, "placement": "balanced"})"}),
          one_of({R"(collectives.dispatch={"kind": "nccl", "generation": "hopper"})",
                  R"(collectives.dispatch={"kind": "hierarchical"})",
                  R"(collectives.dispatch={"kind": "pairwise", "deduplicate": true})"}),
          "parallelism.sequence_parallel=" + one_of({"true", "true", "false"})};
}

}  // namespace

TEST_CASE("A search with skewed routing finds the same with any number of threads") {
  const std::string path = MOESIM_SOURCE "/scenarios/two-gpus.json";
  for (std::uint64_t number = 0; number < 8; ++number) {
    std::vector<std::string> sets = random_search(number);
    if (sets[4].find("switch") != std::string::npos) sets[2] = "model.moe.top_k=1";
    CAPTURE(sets);
    const std::string one = write_json(search_value(found(path, sets, 3, 1)));
    CHECK(write_json(search_value(found(path, sets, 3, 2))) == one);
    CHECK(write_json(search_value(found(path, sets, 3, 3))) == one);
  }
}

TEST_CASE("No plan is listed twice, and candidates are those cut and those ranked") {
  const std::string path = MOESIM_SOURCE "/scenarios/two-gpus.json";
  const std::vector<std::string> sets{
      "cluster.devices=4",
      "batch.sequences=4",
      R"(search.schedule=["1f1b", "sequential", "gpipe", "1f1b", "interleaved", "zb_h1", "zb_h2"])",
      "search.chunks=[1, 2, 2]",
      R"(search.recompute=["none", "latent", "norm+activation", "activation+norm", "full", "full+latent"])",
      R"(search.gradient_sync=["all_reduce", "zero1", "zero2", "zero3", "fsdp", "ddp", "fsdp2"])",
      R"(search.placement=["tensor+expert+data+pipeline", "expert+tensor+data+pipeline"])"};
  const SearchResult result = found(path, sets, 400);
  std::uint64_t all = result.ranked;
  for (const std::uint64_t cut : result.cut) all += cut;
  CHECK(all == result.candidates);
  CHECK(result.cut[static_cast<std::size_t>(CutRule::same_plan)] > 0);
  CHECK(result.cut[static_cast<std::size_t>(CutRule::same_placement)] > 0);
  CHECK(result.same == 0);  // none came as far as simulation
  std::set<std::string> printed;
  std::set<std::tuple<std::string, std::int64_t>> simulated;
  for (const FoundPlan& plan : result.simulated) {
    CAPTURE(print(plan));
    CHECK(printed.insert(print(plan)).second);
    REQUIRE(plan.report);
    CHECK(simulated.insert({plan.report->fingerprint, plan.report->memory_peak().count}).second);
  }
}

namespace {

/// One plan on four nodes whose NICs are so fast that NVLink counts beside them, with so much to compute that
/// the estimate is near where nothing is set.
constexpr const char* one_plan = R"({{
  "model": {{"name": "eight layers", "hidden": 4096, "vocabulary": 8192, "layers": 8,
             "attention": {{"kind": "multi_head", "heads": 32, "head_dim": 128}},
             "moe": {{"experts": 16, "top_k": 2, "width": 14336}}}},
  "software": {{"kind": "ideal"}},
  "cluster": {{"extends": "{0}/configs/clusters/h100-64.json", "devices": 32,
               "topology": {{"nic_rate": "1600 Gb/s"}}}},
  "batch": {{"sequences": 256, "sequence_length": 4096}},
  "parallelism": {{"pipeline": 2, "expert": 16}},
  "search": {{"pipeline": [2], "expert": [16], "expert_tensor": [1], "microbatch": [1],
              "recompute": ["norm"], "gradient_sync": ["zero1"],
              "placement": ["tensor+expert+data+pipeline"]}}}})";

struct Division {
  std::string schedule;
  int tensor, context;
};

/// Values far from the default for a key of that type.
std::vector<std::string> values_of(const Declaration& key) {
  if (key.type == "a time") return {R"("15 us")"};
  if (key.type == "a number") return {"0.3"};
  if (key.name == "table")
    return {'"' + std::string(MOESIM_SOURCE "/configs/calibration/collectives-h200.json") + '"'};
  if (key.type == "true or false") return {key.fallback == "true" ? "false" : "true"};
  if (!key.type.starts_with("one of ")) return {};
  std::vector<std::string> values;
  const std::string names = key.type.substr(7);
  for (std::size_t at = 0; at < names.size();) {
    const std::size_t end = std::min(names.find(", ", at), names.size());
    values.push_back('"' + names.substr(at, end - at) + '"');
    at = end + 2;
  }
  return values;
}

/// The member with each of its keys in turn set far off, and as it is; keys that must be given have the first
/// value otherwise.
std::vector<std::string> choices_of(const Entry<Collective>& member) {
  const std::vector<Declaration> keys = describe_member(member);
  const auto made = [&](const Declaration* set, const std::string& value) {
    std::string text = fmt::format(R"({{"kind": "{}")", member.name);
    for (const Declaration& key : keys) {
      if (&key == set)
        text += fmt::format(R"(, "{}": {})", key.name, value);
      else if (key.required)
        text += fmt::format(R"(, "{}": {})", key.name, values_of(key).front());
    }
    return text + "}";
  };
  std::vector<std::string> choices{made(nullptr, "")};
  for (const Declaration& key : keys) {
    INFO(member.name << "." << key.name << ", " << key.type);
    CHECK_FALSE(values_of(key).empty());
    for (const std::string& value : values_of(key)) choices.push_back(made(&key, value));
  }
  return choices;
}

}  // namespace

TEST_CASE("The estimate knows every key of every collective") {
  const Folder folder("search-laws");
  const std::string path = folder.write("plan.json", fmt::format(one_plan, MOESIM_SOURCE));
  // Every two of them with every other's values.
  const Division division = GENERATE(Division{"1f1b", 1, 1}, Division{"1f1b", 4, 2},
                                     Division{"dualpipe", 4, 1}, Division{"dualpipe", 1, 2});
  const std::vector<std::string> sizes{fmt::format("search.schedule=[\"{}\"]", division.schedule),
                                       fmt::format("search.tensor=[{}]", division.tensor),
                                       fmt::format("search.context=[{}]", division.context)};
  std::size_t tried = 0;
  for (const std::string slot :
       {"dispatch", "combine", "tensor", "context", "gradients", "parameters", "pipeline"}) {
    const bool is_of_all = slot == "gradients" || slot == "parameters";
    if ((slot == "tensor" && division.tensor == 1) || (slot == "context" && division.context == 1) ||
        (is_of_all && division.tensor + division.context > 2))
      continue;  // nobody to talk to, or as in the other divisions
    for (const Entry<Collective>* member : collectives()) {
      for (const std::string& choice : choices_of(*member)) {
        std::vector<std::string> sets = sizes;
        sets.push_back(fmt::format("collectives.{}={}", slot, choice));
        SearchResult result;
        try {
          result = found(path, sets, 1);
        } catch (const InputError&) {
          break;  // it does not do that operation
        }
        CAPTURE(sets);
        REQUIRE(result.agreement.pairs == 1);
        // Sends of a ring beside an overlapped pair are in its way more than two queues tell.
        CHECK(std::abs(result.agreement.worst) < (slot == "context" ? 0.035 : 0.03));
        ++tried;
      }
    }
  }
  CHECK(tried > 20);
}
