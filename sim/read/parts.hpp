// The parts of a scenario that are no family: each reads its keys, and knows no other part.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "sim/scenario/scenario.hpp"

namespace moesim {

/// The layouts of figure 9 of the Switch Transformer paper (arXiv 2101.03961, section 5); `given` is none of
/// them.
enum class SwitchLayout : std::uint8_t { given, data, model, model_data, expert_data, expert_model_data };
inline constexpr std::string_view switch_layout_names[] = {"given",      "data",        "model",
                                                           "model_data", "expert_data", "expert_model_data"};

/// Sizes as given, before the cluster decides the data-parallel size.
struct Parallelism {
  Sizes sizes;
  SwitchLayout layout = SwitchLayout::given;
  std::int64_t model = 0;               ///< model-parallel size of a layout; 0 is not given
  std::vector<std::string_view> given;  ///< keys that are, of those that a layout decides
  bool sequence_parallel = true;
  ContextExchange context_exchange = ContextExchange::ring;
  std::vector<Axis> placement;
  std::vector<std::int64_t> layers_per_stage;
};

Batch read_batch(Reader reader);
Parallelism read_parallelism(Reader reader);
PrecisionPlan read_precision_plan(Reader reader);
Budget read_budget(Reader reader);
/// What a scenario's devices and software say of its collectives.
struct UsualCollectives {
  Generation generation = Generation::none;
  bool are_nccl = false;  ///< where nothing else is given
  ExchangeHabits exchanges{};
};
/// What gradients need of the collectives depends on how they are synchronised.
Collectives read_collectives(Reader reader, const Fabric& fabric, const UsualCollectives& usual,
                             const GradientPlan& gradients, ContextExchange context_exchange);
/// What a scenario does with the tokens that routing sends somewhere.
struct ExpertChoices {
  Placement placement = Placement::in_order;
  std::int64_t redundant = 0;  ///< slots beyond one for each expert
  double spread = 0;           ///< of the rows of a rank: standard deviation over mean
};
ExpertChoices read_expert_choices(Reader& reader);

/// Sizes of a pipeline that has no model.
struct PipelineSizes {
  std::int64_t stages = 1;        ///< pipeline ranks
  std::int64_t microbatches = 1;  ///< of a step, both directions together
};
PipelineSizes read_pipeline_sizes(Reader reader);
/// Durations as given: of one chunk, or of one rank for schedules that split them over its chunks.
PassDurations read_fixed_cost(Reader reader);
/// Says in `words` which collective it is. Throws InputError for one that does not do the operation, and for
/// a group that does not divide the devices.
OneCommunication read_communication(Reader reader, const Fabric& fabric, Generation generation,
                                    std::string& words);

/// The part of that name, or one without keys where it is not given; of a family with its kinds.
Reader part_or_empty(Reader& reader, std::string_view name, std::string_view help,
                     std::span<const std::string_view> kinds = {});

}  // namespace moesim
