#include "sim/read/switch_layout.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/at.hpp"

namespace moesim {
namespace {

bool has_both(SwitchLayout layout) {
  return layout == SwitchLayout::model_data || layout == SwitchLayout::expert_model_data;
}

/// m divides the devices, and is given where it is free.
void check_model(const Reader& reader, std::int64_t devices, const Parallelism& parallelism) {
  const std::string_view name = at(switch_layout_names, parallelism.layout);
  const std::int64_t m = parallelism.model;
  if (!has_both(parallelism.layout)) {
    if (m == 0) return;
    reader.fail("parallelism.model",
                fmt::format("is {}, but layout '{}' leaves no choice (model_data and expert_model_data do)",
                            m, name));
  }
  if (m == 0) {
    reader.fail("parallelism.model",
                fmt::format("is missing: layout '{}' divides {} devices into model x data", name, devices));
  }
  if (devices % m != 0) {
    reader.fail("parallelism.model",
                fmt::format("{} devices of a pipeline rank do not divide by model {}", devices, m));
  }
}

}  // namespace

Sizes sizes_of_layout(const Parallelism& parallelism, std::int64_t devices, bool has_experts) {
  const SwitchLayout layout = parallelism.layout;
  Sizes sizes{.pipeline = parallelism.sizes.pipeline};
  if (layout == SwitchLayout::model) sizes.tensor = devices;
  if (has_both(layout)) sizes.tensor = parallelism.model;
  sizes.data = devices / sizes.tensor;
  if (layout == SwitchLayout::expert_data || layout == SwitchLayout::expert_model_data)
    sizes.expert = sizes.data;
  if (has_experts) sizes.expert_tensor = sizes.tensor;
  return sizes;
}

void apply_layout(const Reader& reader, std::int64_t devices, bool has_experts, Parallelism& parallelism) {
  check_model(reader, devices, parallelism);
  if (parallelism.layout == SwitchLayout::given) return;
  const std::string_view name = at(switch_layout_names, parallelism.layout);
  const Sizes given = parallelism.sizes;
  const Sizes decided = sizes_of_layout(parallelism, devices, has_experts);
  const auto agree = [&](std::string_view key, std::int64_t asked, std::int64_t answer) {
    if (asked == answer) return;
    if (std::find(parallelism.given.begin(), parallelism.given.end(), key) == parallelism.given.end()) return;
    reader.fail(
        fmt::format("parallelism.{}", key),
        fmt::format("is {}, but layout '{}' on {} devices makes it {}", asked, name, devices, answer));
  };
  agree("tensor", given.tensor, decided.tensor);
  agree("context", given.context, decided.context);
  agree("expert", given.expert, decided.expert);
  agree("expert_tensor", given.expert_tensor, decided.expert_tensor);
  agree("sequence_parallel", parallelism.sequence_parallel ? 1 : 0, 0);
  parallelism.sizes = decided;
  parallelism.sequence_parallel = false;
}

}  // namespace moesim
