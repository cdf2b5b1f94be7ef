#include "sim/sweep/measure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/config/reader.hpp"

namespace moesim {
namespace {

/// Keys of a report that hold numbers, or objects and lists of them (docs/interface.md).
constexpr std::array numbers{"step_time_s",
                             "tokens_per_s",
                             "tokens_per_s_per_device",
                             "model_flops_per_token",
                             "tflops_per_device",
                             "mfu",
                             "mfu_causal",
                             "mfu_whole"};
constexpr std::array holders{"parameters",    "pipeline",       "breakdown_s", "passes_s", "steps",
                             "communication", "gradient_parts", "routing",     "memory",   "goodput",
                             "repeat",        "critical_path",  "engine"};
constexpr std::array more_is_better{
    "tokens_per_s", "tokens_per_s_per_device", "tflops_per_device", "mfu", "mfu_causal", "mfu_whole",
    "goodput"};

bool has(const auto& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Dimension dimension_of(const std::vector<std::string>& path) {
  const std::string& last = path.back();
  const auto lies_in = [&](const char* name) {
    return std::find(path.begin(), path.end() - 1, name) != path.end() - 1;
  };
  if (last.starts_with("tokens_per_s")) return Dimension::plain;
  if (last.ends_with("_s") || lies_in("breakdown_s") || lies_in("passes_s") || lies_in("step_time_s"))
    return Dimension::time;
  if (last.ends_with("_fraction") || last.ends_with("utilization") || last.starts_with("mfu") ||
      last == "share" || last == "bubble_mean" || last == "bubble_most")
    return Dimension::share;
  return path.front() == "memory" || last == "bytes" ? Dimension::size : Dimension::plain;
}

/// "exposed communication" of {"breakdown_s", "exposed_communication"}.
std::string label_of(const std::vector<std::string>& path) {
  std::string label = path.back();
  if (label.ends_with("_s") && !label.ends_with("_per_s")) label.resize(label.size() - 2);
  const bool is_of_a_holder = path.size() > 1 && path.front() != "breakdown_s" && path.front() != "routing" &&
                              path.front() != "pipeline";
  if (is_of_a_holder) label = path[path.size() - 2] + " " + label;
  std::replace(label.begin(), label.end(), '_', ' ');
  return label;
}

Measure column(const char* name, std::vector<std::string> path, const char* label, Dimension dimension,
               bool more = false) {
  return {
      .name = name, .path = std::move(path), .label = label, .dimension = dimension, .more_is_better = more};
}

const std::vector<Measure>& columns() {
  static const std::vector<Measure> all{
      column("step_time_s", {"step_time_s"}, "step time", Dimension::time),
      column("tokens_per_s_per_device", {"tokens_per_s_per_device"}, "tokens a second and device",
             Dimension::plain, true),
      column("mfu", {"mfu"}, "MFU", Dimension::share, true),
      column("bubble_fraction", {"pipeline", "bubble_fraction"}, "bubble of the slowest rank",
             Dimension::share),
      column("exposed_communication_s", {"breakdown_s", "exposed_communication"}, "exposed communication",
             Dimension::time),
      column("peak_memory", {"memory", "peak"}, "peak memory", Dimension::size),
      column("fits", {"memory", "fits"}, "fits", Dimension::plain, true)};
  return all;
}

/// Beside the slowest rank's.
const std::vector<Measure>& bubbles() {
  static const std::vector<Measure> all{
      column("bubble_mean", {"pipeline", "bubble_mean"}, "bubble, mean over ranks", Dimension::share),
      column("bubble_most", {"pipeline", "bubble_most"}, "bubble of the most idle rank", Dimension::share)};
  return all;
}

}  // namespace

const Value* Measure::in(const Value& report) const {
  const Value* value = &report;
  for (const std::string& step : path) {
    std::size_t place = 0;
    const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), place);
    const bool is_item = value->kind == Value::Kind::list && error == std::errc() &&
                         end == step.data() + step.size() && place < value->items.size();
    value = is_item ? &value->items[place] : value->find(step);
    if (value == nullptr) return nullptr;
  }
  return value;
}

std::optional<double> Measure::number_in(const Value& report) const {
  const Value* value = in(report);
  if (value == nullptr || (value->kind != Value::Kind::number && value->kind != Value::Kind::integer))
    return std::nullopt;
  return value->number;
}

std::span<const Measure> table_measures() { return columns(); }

Measure parse_measure(const std::string& name, const std::string& where) {
  for (const Measure& measure : columns()) {
    if (measure.name == name && name != "fits") return measure;
  }
  for (const Measure& measure : bubbles()) {
    if (measure.name == name) return measure;
  }
  const std::vector<std::string> path = split(name, '.');
  const bool is_path = path.size() > 1 ? has(holders, path.front()) : has(numbers, name);
  if (!is_path || has(path, "")) {
    std::vector<std::string> known;
    for (const Measure& measure : columns()) {
      if (measure.name != "fits") known.push_back(measure.name);
    }
    for (const Measure& measure : bubbles()) known.push_back(measure.name);
    for (const std::string other : numbers) {
      if (!has(known, other)) known.push_back(other);
    }
    const std::string near = nearest_name(name, known);
    throw InputError(
        where,
        fmt::format("unknown '{}' (known: {}{})", name, fmt::join(known, ", "),
                    near.empty() ? "" : fmt::format("; did you mean '{}'?", near)),
        fmt::format("or the dotted path of a number in the JSON report, below {}", fmt::join(holders, ", ")));
  }
  return {.name = name,
          .path = path,
          .label = label_of(path),
          .dimension = dimension_of(path),
          .more_is_better = has(more_is_better, path.back())};
}

}  // namespace moesim
