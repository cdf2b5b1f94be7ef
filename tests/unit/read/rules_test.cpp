// Rules between sizes: each on both sides of its boundary, and alike for reading and a search.
#include "sim/read/rules.hpp"

#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/read/scenario.hpp"

using namespace moesim;

namespace {

std::string said(const Fit& fit) {
  return fit ? std::string(fit->key()) + ": " + fit->what() : std::string("fits");
}

const std::string path = MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json";

/// A tensor, expert and pipeline size and a microbatch, and what reading says of them.
bool is_read(const Sizes& sizes, std::int64_t microbatch) {
  const auto set = [](const std::string& key, std::int64_t value) {
    return parse_override(key + "=" + std::to_string(value));
  };
  try {
    load_scenario(
        path, {set("parallelism.tensor", sizes.tensor), set("parallelism.pipeline", sizes.pipeline),
               set("parallelism.expert", sizes.expert), set("parallelism.expert_tensor", sizes.expert_tensor),
               set("batch.microbatch", microbatch)});
  } catch (const InputError&) {
    return false;
  }
  return true;
}

}  // namespace

TEST_CASE("Sizes divide the devices, and say which do not") {
  CHECK(said(divides_devices(16, {.pipeline = 2, .tensor = 8})) == "fits");
  CHECK(said(divides_devices(17, {.pipeline = 2, .tensor = 8})) ==
        "parallelism: 17 devices do not divide by pipeline 2 x tensor 8 = 16");
  CHECK(said(divides_devices(16, {.pipeline = 2, .tensor = 4, .context = 4})) ==
        "parallelism: 16 devices do not divide by pipeline 2 x tensor 4 x context 4 = 32");
  CHECK(said(divides_stage({.tensor = 2, .data = 4, .expert = 8})) == "fits");
  CHECK(said(divides_stage({.tensor = 2, .data = 4, .expert = 3})) ==
        "parallelism.expert: 8 devices of a pipeline rank do not divide by expert 3");
  CHECK(said(divides_stage({.tensor = 2, .data = 4, .expert = 8, .expert_tensor = 2})) ==
        "parallelism.expert: 8 devices of a pipeline rank do not divide by expert 8 x expert_tensor 2 = 16");
}

TEST_CASE("Sizes divide the batch, and say which do not") {
  const Batch batch{.sequences = 48, .sequence_length = 96, .microbatch = 2};
  CHECK(said(divides_sequences(batch, {.data = 24})) == "fits");
  CHECK(said(divides_sequences(batch, {.data = 32})) ==
        "batch.sequences: 48 sequences do not divide by data-parallel 32 x microbatch 2 = 64");
  CHECK(said(divides_tokens_of(batch, {.tensor = 32})) == "fits");
  CHECK(said(divides_tokens_of(batch, {.tensor = 5})) ==
        "batch.sequence_length: 96 tokens do not divide by tensor 5");
  CHECK(said(divides_tokens_of(batch, {.tensor = 4, .context = 12})) == "fits");
  CHECK(said(divides_tokens_of(batch, {.tensor = 8, .context = 12})) ==
        "batch.sequence_length: 96 tokens do not divide by tensor 8 x 2 x context 12 = 192");
}

TEST_CASE("Limits hold up to their last number") {
  CHECK(said(limits_tokens({.sequence_length = 1000, .microbatch = 1'000'000})) == "fits");
  CHECK(said(limits_tokens({.sequence_length = 1000, .microbatch = 1'000'001})) ==
        "batch.microbatch: is 1000001 sequences of 1000 tokens, expected at most 1000000000 tokens together");
  CHECK(said(limits_microbatches({.sequences = 2'000'000, .microbatch = 2}, {})) == "fits");
  CHECK(said(limits_microbatches({.sequences = 2'000'002, .microbatch = 2}, {})) ==
        "batch.sequences: come to 1000001 microbatches of a data-parallel rank, expected at most 1000000");
  Model model;
  model.layers.resize(20);
  CHECK(said(limits_tasks(10, 100'000, model)) == "fits");
  CHECK(said(limits_tasks(10, 100'001, model)) ==
        "batch.sequences: come to about 2e+08 tasks (100001 microbatches), expected at most 2e+08");
}

TEST_CASE("Reading refuses a scenario exactly where a rule finds a misfit") {
  const Scenario scenario = load_scenario(path);
  const Model& model = scenario.model;
  const std::int64_t devices = scenario.fabric().device_count();
  RandomStream random = Random(7).stream("rules");
  const std::int64_t choices[] = {1, 2, 3, 4, 8, 16};
  const auto draw = [&] { return choices[random.below(std::size(choices))]; };
  int refused = 0, read = 0;
  for (int i = 0; i < 60; ++i) {
    Sizes sizes{.pipeline = draw() % 5 + (draw() % 2 == 0 ? 0 : 1),
                .tensor = draw(),
                .expert = draw(),
                .expert_tensor = draw()};
    sizes.pipeline = std::max<std::int64_t>(1, sizes.pipeline);
    Batch batch = scenario.batch;
    batch.microbatch = draw();
    bool fits = !divides_devices(devices, sizes);
    if (fits) {
      sizes.data = devices / (sizes.pipeline * sizes.tensor);
      fits = !divides_stage(sizes) && !divides_heads(model, sizes) && !divides_columns(model, sizes) &&
             !has_experts_to_spread(model, sizes) && !divides_slots(model, 0, sizes) &&
             !divides_sequences(batch, sizes) && !divides_tokens_of(batch, sizes) &&
             !fits_groups(scenario, Layout(sizes, scenario.layout.placement())) &&
             std::ssize(model.layers) % sizes.pipeline == 0;
    }
    INFO("pipeline " << sizes.pipeline << " tensor " << sizes.tensor << " expert " << sizes.expert
                     << " expert_tensor " << sizes.expert_tensor << " microbatch " << batch.microbatch);
    CHECK(is_read(sizes, batch.microbatch) == fits);
    ++(fits ? read : refused);
  }
  CHECK(read > 5);
  CHECK(refused > 5);
}
