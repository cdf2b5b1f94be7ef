#include "sim/report/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "models/base/at.hpp"
#include "models/base/grouped.hpp"

namespace moesim {
namespace {

constexpr std::string_view program = "moesim " MOESIM_VERSION;

/// A dimension as training software calls it.
struct Dimension {
  std::string_view letters, axis;
  std::int64_t Sizes::*size;
};
constexpr std::array dimensions{Dimension{"PP", "pipeline", &Sizes::pipeline},
                                Dimension{"TP", "tensor", &Sizes::tensor},
                                Dimension{"CP", "context", &Sizes::context},
                                Dimension{"EP", "expert", &Sizes::expert},
                                Dimension{"ETP", "expert_tensor", &Sizes::expert_tensor},
                                Dimension{"DP", "data", &Sizes::data}};

std::string layout_of(const Sizes& sizes) {
  std::string text;
  for (const Dimension& one : dimensions) {
    if (sizes.*one.size > 1)
      text += fmt::format("{}{} {}", text.empty() ? "" : " x ", one.letters, sizes.*one.size);
  }
  return text.empty() ? "one rank" : text;
}

/// The dimensions of several ranks, innermost first, where their order is not the usual one.
std::string unusual_placement(const PlanChoices& choices) {
  std::vector<std::string_view> laid;
  std::size_t furthest = 0;
  bool is_usual = true;
  for (const std::string& name : choices.placement) {
    const auto* const known = std::find_if(dimensions.begin(), dimensions.end(),
                                           [&](const Dimension& one) { return one.axis == name; });
    if (known == dimensions.end() || choices.sizes.*known->size == 1) continue;
    const auto place = static_cast<std::size_t>(
        std::find(std::begin(axis_names), std::end(axis_names), name) - std::begin(axis_names));
    is_usual = is_usual && place >= furthest;
    furthest = std::max(furthest, place);
    laid.push_back(known->axis);
  }
  return is_usual ? std::string() : fmt::format("placed {}", fmt::join(laid, "+"));
}

PlanChoices choices_of(const Scenario& scenario) {
  PlanChoices choices{.sizes = scenario.layout.sizes(),
                      .microbatch = scenario.batch.microbatch,
                      .schedule = scenario.words.schedule,
                      .precision = {},
                      .recompute = scenario.words.recompute,
                      .offload = scenario.words.offload,
                      .gradient_sync = scenario.words.gradient_sync,
                      .placement = {}};
  if (scenario.precision.gemm != Precision::bf16)
    choices.precision = at(precision_names, scenario.precision.gemm);
  for (const Axis axis : scenario.layout.placement()) choices.placement.emplace_back(at(axis_names, axis));
  return choices;
}

std::string pipeline_alone(const Scenario& scenario) {
  return fmt::format("{}, {}, {} microbatches of given durations", layout_of(scenario.layout.sizes()),
                     scenario.words.schedule, grouped(static_cast<double>(scenario.microbatches())));
}

std::string communication_alone(const Scenario& scenario) {
  const OneCommunication& one = *scenario.communication;
  const auto devices = static_cast<std::int64_t>(scenario.fabric().device_count());
  const std::int64_t count = devices / one.group_size;
  const std::string groups = one.group_size == devices
                                 ? std::string()
                                 : fmt::format(" in {} groups of {}", grouped(static_cast<double>(count)),
                                               grouped(static_cast<double>(one.group_size)));
  return fmt::format("{} of {}{}, {}", at(operation_names, one.operation), print(one.bytes), groups,
                     scenario.words.collective);
}

std::vector<std::string> parts_of(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + separator.size();
  }
  return parts;
}

void keep_shared(std::vector<std::string>& parts, const std::vector<std::string>& others) {
  std::erase_if(parts, [&](const std::string& part) {
    return std::find(others.begin(), others.end(), part) == others.end();
  });
}

}  // namespace

std::string print(const PlanChoices& choices) {
  std::string text =
      fmt::format("{}, {}, microbatch {}", layout_of(choices.sizes), choices.schedule, choices.microbatch);
  const auto add = [&](const std::string& part) {
    if (!part.empty()) text += ", " + part;
  };
  add(choices.precision);
  if (!choices.recompute.empty()) add("recompute " + choices.recompute);
  if (!choices.offload.empty()) add("offload " + choices.offload);
  add(choices.gradient_sync);
  add(unusual_placement(choices));
  return text;
}

std::string cluster_line(const Scenario& scenario) {
  if (!scenario.cluster) return std::string(program);
  const std::string software = scenario.software_name.empty() ? "" : scenario.software_name + ", ";
  return fmt::format("{}{} x {}, {}", software,
                     grouped(static_cast<double>(scenario.fabric().device_count())),
                     scenario.cluster->device.name, program);
}

std::string plan_line(const Scenario& scenario) {
  const std::string plan = scenario.fixed           ? pipeline_alone(scenario)
                           : scenario.communication ? communication_alone(scenario)
                                                    : print(choices_of(scenario));
  return fmt::format("{}, {}", plan, cluster_line(scenario));
}

std::string common_plan(const std::vector<std::string>& lines) {
  if (lines.empty()) return {};
  std::vector<std::string> common = parts_of(lines.front(), ", ");
  std::vector<std::string> sizes = parts_of(common.front(), " x ");
  for (const std::string& line : lines) {
    const std::vector<std::string> parts = parts_of(line, ", ");
    keep_shared(sizes, parts_of(parts.front(), " x "));
    keep_shared(common, parts);
  }
  // Of layouts that differ, the sizes that they share.
  const std::string shared_sizes = fmt::format("{}", fmt::join(sizes, " x "));
  if (!sizes.empty() && (common.empty() || common.front() != shared_sizes))
    common.insert(common.begin(), shared_sizes);
  return fmt::format("{}", fmt::join(common, ", "));
}

}  // namespace moesim
