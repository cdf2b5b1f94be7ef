#include "sim/search/space.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/config/values.hpp"
#include "sim/read/parts.hpp"

namespace moesim {
namespace {

std::vector<std::int64_t> divisors(std::int64_t whole) {
  std::vector<std::int64_t> all;
  for (std::int64_t d = 1; d <= whole; ++d) {
    if (whole % d == 0) all.push_back(d);
  }
  return all;
}

std::vector<std::int64_t> powers_of_two(std::int64_t most) {
  std::vector<std::int64_t> all;
  for (std::int64_t power = 1; power <= most; power *= 2) all.push_back(power);
  return all;
}

/// The part of the document with another kind: its other keys stay where the kind is its own.
Value part_with_kind(Value document, const std::string& part, const std::string& kind) {
  apply_override(document, {.key = part + ".kind", .value = value_of(kind, "search")});
  return *document.find(part);
}

/// Names, and the scenario's own behind them.
std::vector<std::string> with_own(std::vector<std::string> names, const Value& document,
                                  const std::string& part) {
  const std::string own = kind_of(document, part, names.front());
  if (std::find(names.begin(), names.end(), own) == names.end()) names.push_back(own);
  return names;
}

/// Each once, in the order of the first.
void drop_repeated(auto& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    values.erase(std::remove(values.begin() + static_cast<std::ptrdiff_t>(i) + 1, values.end(), values[i]),
                 values.end());
}

void add_schedules(const Value& document, const SearchBounds& bounds, SearchSpace& space) {
  std::vector<std::string> kinds = bounds.schedules;
  if (kinds.empty()) {
    kinds = with_own({"1f1b", "interleaved", "zb_h1", "zb_h2", "zb_v", "chimera", "dualpipe", "dualpipev"},
                     document, "schedule");
    std::erase(kinds, "zb_auto");
  }
  drop_repeated(kinds);
  for (const std::string& kind : kinds) {
    std::vector<std::int64_t> chunks{0};
    if (kind == "interleaved")
      chunks = bounds.chunks.empty() ? std::vector<std::int64_t>{2, 3, 4} : bounds.chunks;
    drop_repeated(chunks);
    for (const std::int64_t count : chunks) {
      Value part = part_with_kind(document, "schedule", kind);
      if (count > 0) part.set("chunks", value_of(count, "search"));
      Reader reader(part, "schedule");
      space.schedules.push_back({kind, count, make_member(reader, schedules(), "pipeline schedule")});
    }
  }
}

void add_syncs(const Value& document, const SearchBounds& bounds, SearchSpace& space) {
  std::vector<std::string> kinds = bounds.gradient_syncs;
  if (kinds.empty()) kinds = with_own({"zero1", "zero2", "zero3"}, document, "gradient_sync");
  for (const std::string& kind : kinds) {
    const Value part = part_with_kind(document, "gradient_sync", kind);
    Reader reader(part, "gradient_sync");
    const GradientPlan plan = make_member(reader, gradient_syncs(), "gradient_sync")->plan();
    const bool is_known = std::any_of(space.syncs.begin(), space.syncs.end(),
                                      [&](const SyncChoice& known) { return known.plan == plan; });
    if (!is_known) space.syncs.push_back({kind, plan});
  }
}

}  // namespace

std::vector<std::string> names_of(const Recompute& recompute) {
  std::vector<std::string> names;
  if (recompute.full) names.emplace_back("full");
  if (recompute.norm) names.emplace_back("norm");
  if (recompute.activation) names.emplace_back("activation");
  if (recompute.latent) names.emplace_back("latent");
  if (recompute.attention) names.emplace_back("attention");
  if (recompute.experts) names.emplace_back("experts");
  if (names.empty()) names.emplace_back("none");
  return names;
}

std::string kind_of(const Value& document, const std::string& part, std::string otherwise) {
  Value copy = document;
  const Value* place = copy.find(part);
  if (place == nullptr) return otherwise;
  if (place->kind == Value::Kind::text) {  // a file: opened in place
    apply_override(copy, {.key = part + ".about", .value = value_of("", "search")});
    place = copy.find(part);
  }
  const Value* kind = place->find("kind");
  return kind != nullptr ? kind->text : otherwise;
}

namespace {

void add_recomputes(const Scenario& base, const SearchBounds& bounds, SearchSpace& space) {
  const auto add = [&](const Recompute& recompute) {
    std::vector<std::string> names = names_of(recompute);
    for (const RecomputeChoice& known : space.recomputes) {
      if (known.names == names) return;
    }
    space.recomputes.push_back({std::move(names), recompute});
  };
  for (const RecomputeChoice& choice : bounds.recomputes) add(choice.recompute);
  if (!space.recomputes.empty()) return;
  add({});
  add({.norm = true, .activation = true});
  add({.full = true});
  add(base.recompute);
}

void add_placements(const Scenario& base, const SearchBounds& bounds, SearchSpace& space) {
  const auto add = [&](const std::vector<Axis>& placement) {
    const std::vector<Axis> whole = Layout(Sizes{}, placement).placement();
    if (std::find(space.placements.begin(), space.placements.end(), whole) == space.placements.end())
      space.placements.push_back(whole);
  };
  for (const std::vector<Axis>& placement : bounds.placements) add(placement);
  if (!space.placements.empty()) return;
  add({Axis::tensor, Axis::expert, Axis::data, Axis::pipeline});
  add({Axis::tensor, Axis::expert, Axis::pipeline, Axis::data});
  add(base.layout.placement());
}

template <class T>
std::string listed(std::string_view axis, const std::vector<T>& values, auto print) {
  std::vector<std::string> words;
  for (const T& value : values) words.push_back(print(value));
  return fmt::format("{}: {}", axis, fmt::join(words, ", "));
}

}  // namespace

std::uint64_t SearchSpace::candidates() const {
  std::uint64_t product = 1;
  for (const std::size_t size :
       {tensor.size(), context.size(), pipeline.size(), expert.size(), expert_tensor.size(),
        microbatch.size(), placements.size(), recomputes.size(), schedules.size(), syncs.size()})
    product *= size;
  return product;
}

std::vector<std::string> SearchSpace::describe() const {
  const auto number = [](std::int64_t value) { return fmt::format("{}", value); };
  std::vector<std::string> lines{listed("pipeline", pipeline, number), listed("tensor", tensor, number),
                                 listed("context", context, number), listed("expert", expert, number),
                                 listed("expert_tensor", expert_tensor, number)};
  if (!data.empty()) lines.push_back(listed("data", data, number));
  lines.push_back(listed("microbatch", microbatch, number));
  lines.push_back(listed("schedule", schedules, [](const ScheduleChoice& choice) {
    return choice.chunks > 0 ? fmt::format("{} of {} chunks", choice.kind, choice.chunks) : choice.kind;
  }));
  lines.push_back(listed("recompute", recomputes, [](const RecomputeChoice& choice) {
    return fmt::format("{}", fmt::join(choice.names, "+"));
  }));
  lines.push_back(listed("gradient_sync", syncs, [](const SyncChoice& choice) { return choice.kind; }));
  lines.push_back(listed("placement", placements, [](const std::vector<Axis>& placement) {
    std::vector<std::string_view> names;
    for (const Axis axis : placement) names.push_back(axis_names[static_cast<std::size_t>(axis)]);
    return fmt::format("{}", fmt::join(names, "+"));
  }));
  return lines;
}

SearchSpace search_space(const Value& document, const Scenario& base) {
  SearchBounds bounds;
  if (const Value* part = document.find("search"); part != nullptr) {
    Value holder = empty_object(document.origin);
    holder.set("search", *part);
    Reader reader(holder, "");
    bounds = read_search_bounds(reader.part("search", "what may be chosen"));
  } else {
    const Value empty = empty_object(document.origin);
    bounds = read_search_bounds(Reader(empty, "search"));
  }
  SearchSpace space;
  const std::int64_t devices = base.fabric().device_count();
  const auto given_or = [&](const std::vector<std::int64_t>& given, std::vector<std::int64_t> otherwise) {
    return given.empty() ? std::move(otherwise) : given;
  };
  const std::vector<std::int64_t> all = divisors(devices);
  const std::vector<std::int64_t> of_experts = base.model.has_experts() ? all : std::vector<std::int64_t>{1};
  space.tensor = given_or(bounds.tensor, all);
  space.context = given_or(bounds.context, all);
  space.pipeline = given_or(bounds.pipeline, all);
  space.expert = given_or(bounds.expert, of_experts);
  space.expert_tensor = given_or(bounds.expert_tensor, of_experts);
  space.data = bounds.data;
  space.microbatch = given_or(bounds.microbatch, powers_of_two(base.batch.sequences));
  add_placements(base, bounds, space);
  add_recomputes(base, bounds, space);
  add_schedules(document, bounds, space);
  add_syncs(document, bounds, space);
  const Bytes has = base.cluster->device.memory;
  space.empty_stages = bounds.empty_stages;
  space.memory_limit = bounds.memory_limit.count > 0 ? std::min(bounds.memory_limit, has) : has;
  return space;
}

const PipelineProfile& Profiles::of(std::size_t schedule, std::int64_t ranks, std::int64_t microbatches) {
  const std::array<std::int64_t, 3> key{static_cast<std::int64_t>(schedule), ranks, microbatches};
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = known_.find(key); known != known_.end()) return *known->second;
  }
  auto made = std::make_unique<const PipelineProfile>(
      profile_of(*space_.schedules[schedule].schedule, ranks, microbatches));
  const std::lock_guard lock(mutex_);
  return *known_.try_emplace(key, std::move(made)).first->second;
}

}  // namespace moesim
