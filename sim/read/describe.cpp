// The reference of a scenario, from the declarations of its own readers.
#include <fmt/format.h>

#include "sim/read/faults.hpp"
#include "sim/read/parts.hpp"
#include "sim/read/scenario.hpp"
#include "sim/read/search_bounds.hpp"

namespace moesim {

std::vector<DescribedPart> describe_scenario() {
  std::vector<DescribedPart> parts;
  std::vector<Declaration> unused;
  Reader cluster = Reader::describing(unused);
  const Fabric fabric = read_cluster(cluster).fabric;
  const auto describe = [&](std::string name, std::string sentence, auto read) {
    parts.push_back({std::move(name), std::move(sentence), {}});
    read(Reader::describing(parts.back().keys));
  };
  describe("scenario",
           "a training step; with \"pipeline\" or \"communication\" instead of a model, see below",
           [](Reader r) { static_cast<void>(read_scenario(std::move(r))); });
  for (ModelPart& part : describe_model()) {
    parts.push_back({part.name.empty() ? "model" : "model." + part.name,
                     part.name.empty() ? "the transformer" : "a part of the model", std::move(part.keys)});
  }
  describe("cluster", "devices and fabric", [](Reader r) { static_cast<void>(read_cluster(r)); });
  for (DevicePart& part : describe_device())
    parts.push_back({std::move(part.name), std::move(part.sentence), std::move(part.keys)});
  describe("batch", "the work of one step", [](Reader r) { static_cast<void>(read_batch(std::move(r))); });
  describe("parallelism", "how the model is spread over devices",
           [](Reader r) { static_cast<void>(read_parallelism(std::move(r))); });
  describe("routing_draws", "what every kind of routing has", [](Reader r) {
    Router router;
    read_draws(r, router);
    static_cast<void>(read_expert_choices(r));
  });
  describe("collectives", "the algorithm of each communication", [&](Reader r) {
    static_cast<void>(
        read_collectives(std::move(r), fabric, {.updater = Updater::owner}, ContextExchange::ring));
  });
  describe("search", "what `moesim search` may choose",
           [](Reader r) { static_cast<void>(read_search_bounds(std::move(r))); });
  describe("precision", "number formats",
           [](Reader r) { static_cast<void>(read_precision_plan(std::move(r))); });
  describe("faults", "what goes wrong, in a step and in a long run",
           [&](Reader r) { static_cast<void>(read_faults(std::move(r), 1, &fabric)); });
  describe("straggler", "one of \"stragglers\" in \"faults\"",
           [](Reader r) { static_cast<void>(read_straggler(r, 1'048'576)); });
  describe("link_fault", "one of \"links\" in \"faults\"",
           [&](Reader r) { static_cast<void>(read_link_fault(r, fabric)); });
  describe("jitter", "part of \"faults\"", [](Reader r) { static_cast<void>(read_jitter(r)); });
  describe("failures", "part of \"faults\"", [](Reader r) { static_cast<void>(read_failures(r, 1)); });
  describe("pipeline", "a pipeline without a model, whose passes have given durations",
           [](Reader r) { static_cast<void>(read_pipeline_sizes(std::move(r))); });
  describe("communication", "one communication by itself, on a cluster, without a model", [&](Reader r) {
    std::string words;
    static_cast<void>(read_communication(std::move(r), fabric, words));
  });
  describe("fixed_cost", "the part \"cost\" of a scenario with \"pipeline\"",
           [](Reader r) { static_cast<void>(read_fixed_cost(std::move(r))); });
  return parts;
}

}  // namespace moesim
