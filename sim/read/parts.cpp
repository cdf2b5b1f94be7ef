#include "sim/read/parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "models/config/fields.hpp"

namespace moesim {
namespace {

constexpr std::int64_t largest = 1'000'000'000;

/// An object without keys, for parts that are not given.
const Value& no_keys() {
  static const Value value{.kind = Value::Kind::object};
  return value;
}

/// A key of the plan whose usual value is that of a plan as it is made.
auto precision(Precision PrecisionPlan::*member, std::string_view name, std::string_view help,
               std::span<const std::string_view> names = whole_byte_names) {
  const auto usual = static_cast<std::size_t>(PrecisionPlan{}.*member);
  return choice(member, names, {.name = name, .help = help, .fallback = std::string(precision_names[usual])});
}

constexpr std::array<std::string_view, 2> parameter_names{"bf16", "fp8"};
constexpr std::int64_t most_layers = 100'000;

auto bf16_layers(std::int64_t PrecisionPlan::*member, std::string_view name, std::string_view help) {
  return field(member, Key<std::int64_t>{
                           .name = name, .help = help, .fallback = 0, .at_least = 0, .at_most = most_layers});
}

Fit fits_overlapped(const PassDurations& durations) {
  const Time longer = std::max(durations.forward, durations.backward_input + durations.backward_weight);
  if (durations.overlapped >= longer) return {};
  return Misfit("overlapped_forward_backward", "is {}, expected at least the longer of its halves, {}",
                print(durations.overlapped), print(longer));
}

}  // namespace

Batch read_batch(Reader reader) {
  Batch batch;
  read_fields(
      reader, batch,
      field(&Batch::sequences, {.name = "sequences",
                                .help = "sequences of a step, over all devices",
                                .at_least = 1,
                                .at_most = largest}),
      field(&Batch::sequence_length,
            {.name = "sequence_length", .help = "tokens of a sequence", .at_least = 1, .at_most = largest}),
      field(&Batch::target_length,
            {.name = "target_length",
             .help = "tokens of a sequence in the decoder of an encoder-decoder; 0 is sequence_length",
             .fallback = 0,
             .at_least = 0,
             .at_most = largest}),
      field(&Batch::microbatch, {.name = "microbatch",
                                 .help = "sequences of one microbatch of one data-parallel rank",
                                 .fallback = 1,
                                 .at_least = 1,
                                 .at_most = largest}));
  reader.finish();
  return batch;
}

PrecisionPlan read_precision_plan(Reader reader) {
  using Plan = PrecisionPlan;
  Plan plan;
  read_fields(reader, plan,
              precision(&Plan::gemm, "gemm", "operands of matrix products; fp4 is NVFP4", precision_names),
              precision(&Plan::dispatch, "dispatch", "tokens on their way to the experts"),
              precision(&Plan::combine, "combine", "expert outputs on their way back"),
              precision(&Plan::gradient, "gradient", "gradients, kept and synchronised"),
              precision(&Plan::moments, "moments", "the optimizer's two moments"));
  plan.parameters =
      reader.choice({.name = "parameters",
                     .help = "weights of products in fp8, held and gathered: fp8 has them in the format of "
                             "software.fp8_recipe and no others (--fp8-param-gather)",
                     .fallback = "bf16"},
                    parameter_names) == 0
          ? Precision::bf16
          : Precision::fp8;
  read_fields(
      reader, plan,
      field(&Plan::weight_copies, {.name = "weight_copies",
                                   .help = "of weights in bf16, the narrow copies that software makes once a "
                                           "step and keeps are counted, in memory and in time",
                                   .fallback = false}),
      bf16_layers(&Plan::bf16_at_start, "num_layers_at_start_in_bf16",
                  "first layers of the model whose products stay bf16 (--first-last-layers-bf16)"),
      bf16_layers(&Plan::bf16_at_end, "num_layers_at_end_in_bf16",
                  "last layers of the model, before those of multi-token prediction, whose products do"));
  reader.finish();
  return plan;
}

Budget read_budget(Reader reader) {
  constexpr double most_price = 1e9, most_tokens = 1e18;
  const auto price = [](std::string_view name, std::string_view help) {
    return Key<double>{.name = name, .help = help, .fallback = 0.0, .at_least = 0.0, .at_most = most_price};
  };
  Budget budget;
  read_fields(
      reader, budget,
      field(&Budget::tokens, {.name = "tokens",
                              .help = "of the whole training",
                              .fallback = Budget{}.tokens,
                              .at_least = 1.0,
                              .at_most = most_tokens}),
      field(&Budget::price_per_device_hour,
            price("price_per_device_hour", "of an hour of a device, in any currency; 0: not counted")),
      field(&Budget::price_per_kwh,
            price("price_per_kwh", "of the energy of the site, in the same currency; 0: not counted")),
      field(&Budget::kg_per_kwh, price("kg_per_kwh", "carbon dioxide of that energy; 0: not counted")),
      field(&Budget::pue, {.name = "pue",
                           .help = "energy of the whole site over that of devices and hosts",
                           .fallback = 1.0,
                           .at_least = 1.0,
                           .at_most = 10.0}),
      field(&Budget::host_power, {.name = "host_power",
                                  .help = "of hosts, NICs and switches, for each device",
                                  .fallback = Power{},
                                  .at_least = Power{},
                                  .at_most = Power{1e6}}));
  reader.finish();
  return budget;
}

ExpertChoices read_expert_choices(Reader& reader) {
  ExpertChoices choices;
  read_fields(
      reader, choices,
      choice(&ExpertChoices::placement, placement_names,
             {.name = "placement",
              .help = "which rank of an expert group holds which experts: in_order, balanced by popularity "
                      "(DeepSeek's EPLB), or by_topic: the same, topics of coactivation each on one node",
              .fallback = "in_order"}),
      field(&ExpertChoices::redundant, {.name = "redundant",
                                        .help = "slots of an expert group for copies of its hottest experts",
                                        .fallback = 0,
                                        .at_least = 0,
                                        .at_most = 1'000'000}),
      field(&ExpertChoices::spread,
            {.name = "spread",
             .help = "instead of skew, in closed form: how far the rows of a rank stray, standard "
                     "deviation over mean; every rank is then the busiest",
             .fallback = 0.0,
             .at_least = 0.0,
             .at_most = 1.0}));
  return choices;
}

PipelineSizes read_pipeline_sizes(Reader reader) {
  PipelineSizes sizes;
  read_fields(reader, sizes,
              field(&PipelineSizes::stages,
                    {.name = "stages", .help = "pipeline ranks", .at_least = 1, .at_most = 30'000}),
              field(&PipelineSizes::microbatches, {.name = "microbatches",
                                                   .help = "microbatches of a step, both directions together",
                                                   .at_least = 1,
                                                   .at_most = 1'000'000}));
  reader.finish();
  return sizes;
}

PassDurations read_fixed_cost(Reader reader) {
  using Durations = PassDurations;
  static constexpr std::string_view kinds[] = {"fixed"};
  constexpr Time least{1};
  static_cast<void>(
      reader.choice({.name = "kind", .help = "durations are given", .fallback = "fixed"}, kinds));
  Durations pass;
  read_fields(reader, pass,
              field(&Durations::forward, {.name = "forward", .help = "a forward", .at_least = least}),
              field(&Durations::backward_input,
                    {.name = "backward_input", .help = "the input gradient", .at_least = least}),
              field(&Durations::backward_weight,
                    {.name = "backward_weight", .help = "the weight gradient", .at_least = least}));
  read_fields(
      reader, pass,
      field(&Durations::overlapped, {.name = "overlapped_forward_backward",
                                     .help = "a forward overlapped with a full backward (default: their sum)",
                                     .fallback = pass.forward + pass.backward_input + pass.backward_weight,
                                     .at_least = Time{}}),
      field(&Durations::send, {.name = "p2p_latency",
                               .help = "from one rank to the next; occupies neither",
                               .fallback = Time{},
                               .at_least = Time{}}));
  reader.expect(fits_overlapped, pass);
  reader.finish();
  return pass;
}

Reader part_or_empty(Reader& reader, std::string_view name, std::string_view help,
                     std::span<const std::string_view> kinds) {
  std::optional<Reader> part = reader.optional_part(name, help, kinds);
  return part ? std::move(*part) : Reader(no_keys(), std::string(name));
}

}  // namespace moesim
