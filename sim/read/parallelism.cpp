// The part "parallelism".
#include <fmt/format.h>

#include <algorithm>

#include "models/base/at.hpp"
#include "models/config/fields.hpp"
#include "sim/read/parts.hpp"

namespace moesim {
namespace {

constexpr std::int64_t largest = 1'000'000'000;

/// A size that is one where it is not given.
Key<std::int64_t> size_key(std::string_view name, std::string_view help, std::int64_t most = largest) {
  return {.name = name, .help = help, .fallback = 1, .at_least = 1, .at_most = most};
}

std::vector<Axis> read_placement(Reader& reader) {
  const std::vector<std::string> names = reader.texts(
      {.name = "placement",
       .help = "order in which the dimensions are laid over neighbouring devices, innermost first "
               "(default: tensor, context, expert_tensor, expert, data, pipeline; context and expert_tensor "
               "stand behind tensor where they are not named)"});
  std::vector<Axis> placement;
  for (const std::string& name : names) {
    const auto* const found = std::find(std::begin(axis_names), std::end(axis_names), name);
    if (found == std::end(axis_names)) {
      reader.fail("placement", fmt::format("unknown '{}' (known: {})", name, fmt::join(axis_names, ", ")));
    }
    const auto axis = static_cast<Axis>(found - std::begin(axis_names));
    if (std::find(placement.begin(), placement.end(), axis) != placement.end()) {
      reader.fail("placement", fmt::format("names '{}' twice", name));
    }
    placement.push_back(axis);
  }
  for (const Axis axis : {Axis::tensor, Axis::expert, Axis::data, Axis::pipeline}) {
    if (std::find(placement.begin(), placement.end(), axis) != placement.end()) continue;
    if (!names.empty()) {
      reader.fail("placement", fmt::format("lacks '{}', expected all of {}", at(axis_names, axis),
                                           fmt::join(axis_names, ", ")));
    }
    placement.push_back(axis);
  }
  return placement;
}

void read_switch_layout(Reader& reader, Parallelism& parallelism) {
  read_fields(
      reader, parallelism,
      choice(
          &Parallelism::layout, switch_layout_names,
          {.name = "layout",
           .help = "a layout of the Switch Transformer paper (arXiv 2101.03961, section 5), which decides "
                   "tensor, context, expert, expert_tensor and sequence_parallel; given: they are given one "
                   "by one",
           .fallback = "given"}),
      field(&Parallelism::model, {.name = "model",
                                  .help = "model-parallel size of the layouts that have data-parallel ranks "
                                          "too: model_data and expert_model_data",
                                  .fallback = 0,
                                  .at_least = 0,
                                  .at_most = largest}));
  for (const std::string_view key : {"tensor", "context", "expert", "expert_tensor", "sequence_parallel"}) {
    if (reader.has(key)) parallelism.given.push_back(key);
  }
}

}  // namespace

Parallelism read_parallelism(Reader reader) {
  constexpr std::int64_t most_parts = 100'000;
  Parallelism parallelism;
  read_fields(
      reader, parallelism.sizes, field(&Sizes::pipeline, size_key("pipeline", "pipeline ranks")),
      field(&Sizes::tensor, size_key("tensor", "ranks that share each matrix")),
      field(&Sizes::context,
            size_key("context",
                     "ranks that share each sequence; causal work is spread evenly over them (zigzag)",
                     most_parts)),
      field(&Sizes::expert, size_key("expert", "ranks that share the experts of a layer")),
      field(&Sizes::expert_tensor,
            size_key("expert_tensor",
                     "ranks that share each matrix of an expert (Megatron-LM's default is tensor)",
                     most_parts)));
  read_fields(
      reader, parallelism,
      field(&Parallelism::sequence_parallel,
            {.name = "sequence_parallel",
             .help =
                 "the tensor group divides norms and residuals over tokens, and gathers and reduce-scatters "
                 "around each block (arXiv 2205.05198); false: every rank has all of them, and blocks end "
                 "in an all-reduce (arXiv 1909.08053)",
             .fallback = true}),
      choice(&Parallelism::context_exchange, context_exchange_names,
             {.name = "context_exchange",
              .help = "how keys and values reach the other context ranks: all_gather before the attention "
                      "(Llama 3), or ring, from rank to rank beside the attention on those that have come "
                      "(Ring Attention)",
              .fallback = "ring"}));
  read_switch_layout(reader, parallelism);
  parallelism.placement = read_placement(reader);
  parallelism.layers_per_stage = reader.integers(
      {.name = "layers_per_stage",
       .help =
           "layers of each stage of the model, in the order of the forward pass (default: equal); where a "
           "schedule has several stages for an entry they share it, where several entries for a stage "
           "it has them all",
       .at_least = 0});
  reader.finish();
  return parallelism;
}

}  // namespace moesim
