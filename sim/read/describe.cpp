// The reference of a scenario, from the declarations of its own readers.
#include <span>
#include <type_traits>
#include <utility>

#include "models/software/file.hpp"
#include "sim/read/certainty.hpp"
#include "sim/read/drift.hpp"
#include "sim/read/faults.hpp"
#include "sim/read/offload.hpp"
#include "sim/read/parts.hpp"
#include "sim/read/recompute.hpp"
#include "sim/read/scenario.hpp"
#include "sim/read/search_bounds.hpp"

namespace moesim {
namespace {

/// A part, and how its keys come to be declared.
struct Row {
  std::string_view name, sentence;
  void (*read)(Reader reader, const Fabric& fabric);
};

/// Reads for the declarations alone.
template <auto read_part>
void declare(Reader reader, const Fabric&) {
  if constexpr (std::is_invocable_v<decltype(read_part), Reader>) {
    static_cast<void>(read_part(std::move(reader)));
  } else {
    static_cast<void>(read_part(reader));
  }
}

void declare_routing(Reader reader, const Fabric&) {
  Router router;
  read_draws(reader, router);
  static_cast<void>(read_expert_choices(reader));
  static_cast<void>(reader.optional_part("drift", "a run of many steps, over which popularity moves"));
}

void declare_communication(Reader reader, const Fabric& fabric) {
  std::string words;
  static_cast<void>(read_communication(std::move(reader), fabric, Generation::none, words));
}

constexpr Row whole[] = {
    {"scenario", "a training step; with \"pipeline\" or \"communication\" instead of a model, see below",
     [](Reader r, const Fabric&) { static_cast<void>(read_scenario(std::move(r))); }}};

constexpr Row cluster[] = {{"cluster", "devices and fabric", declare<read_cluster>}};

constexpr Row others[] = {
    {"batch", "the work of one step", declare<read_batch>},
    {"parallelism", "how the model is spread over devices", declare<read_parallelism>},
    {"routing_draws", "what every kind of routing has", declare_routing},
    {"coactivation", "part of \"routing\": experts that tokens choose together", declare<read_coactivation>},
    {"drift", "part of \"routing\": a run of many steps, over which popularity moves", declare<read_drift>},
    {"rebalance", "part of \"drift\": experts placed anew while the run goes on", declare<read_rebalance>},
    {"collectives", "the algorithm of each communication",
     [](Reader r, const Fabric& fabric) {
       static_cast<void>(
           read_collectives(std::move(r), fabric, {}, {.updater = Updater::owner}, ContextExchange::ring));
     }},
    {"search", "what `moesim search` may choose", declare<read_search_bounds>},
    {"precision", "number formats", declare<read_precision_plan>},
    {"recompute", "the same as an object: arguments of Megatron-Core", declare<read_recompute_part>},
    {"offload", "activations that are in the host's memory from forward to backward", declare<read_offload>},
    {"certainty", "how sure times are: what error bars are made of",
     [](Reader r, const Fabric&) { static_cast<void>(read_certainty(std::move(r), "")); }},
    {"budget", "a whole training: its tokens, and what devices and energy cost", declare<read_budget>},
    {"faults", "what goes wrong, in a step and in a long run",
     [](Reader r, const Fabric& fabric) { static_cast<void>(read_faults(std::move(r), 1, &fabric)); }},
    {"straggler", "one of \"stragglers\" in \"faults\"",
     [](Reader r, const Fabric&) { static_cast<void>(read_straggler(r, 1'048'576)); }},
    {"link_fault", "one of \"links\" in \"faults\"",
     [](Reader r, const Fabric& fabric) { static_cast<void>(read_link_fault(r, fabric)); }},
    {"jitter", "part of \"faults\"", declare<read_jitter>},
    {"failures", "part of \"faults\"",
     [](Reader r, const Fabric&) { static_cast<void>(read_failures(r, 1)); }},
    {"pipeline", "a pipeline without a model, whose passes have given durations",
     declare<read_pipeline_sizes>},
    {"communication", "one communication by itself, on a cluster, without a model", declare_communication},
    {"fixed_cost", "the part \"cost\" of a scenario with \"pipeline\"", declare<read_fixed_cost>}};

void add(std::span<const Row> rows, const Fabric& fabric, std::vector<DescribedPart>& parts) {
  for (const Row& row : rows) {
    DescribedPart& part =
        parts.emplace_back(DescribedPart{std::string(row.name), std::string(row.sentence), {}});
    row.read(Reader::describing(part.keys), fabric);
  }
}

}  // namespace

std::vector<DescribedPart> describe_scenario() {
  std::vector<DescribedPart> parts;
  std::vector<Declaration> unused;
  Reader reader = Reader::describing(unused);
  const Fabric fabric = read_cluster(reader).fabric;
  add(whole, fabric, parts);
  for (ModelPart& part : describe_model()) {
    parts.push_back({part.name.empty() ? "model" : "model." + part.name,
                     part.name.empty() ? "the transformer" : "a part of the model", std::move(part.keys)});
  }
  add(cluster, fabric, parts);
  for (DevicePart& part : describe_device())
    parts.push_back({std::move(part.name), std::move(part.sentence), std::move(part.keys)});
  add(others, fabric, parts);
  for (SoftwarePart& part : describe_software_file())
    parts.push_back({std::move(part.name), std::move(part.sentence), std::move(part.keys)});
  return parts;
}

}  // namespace moesim
