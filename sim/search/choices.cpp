#include "sim/search/choices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/config/values.hpp"
#include "sim/read/offload.hpp"
#include "sim/read/recompute.hpp"
#include "sim/report/plan.hpp"

namespace moesim {
namespace {

/// The kind of a part of the document that is a family.
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

/// Whether a schedule has several chunks a rank, as many as one asks for.
bool has_chunks(std::string_view kind) {
  return kind == "interleaved" || kind == "zb_interleaved" || kind == "looped_bfs";
}

void add_schedules(const ChoiceSource& source, Choices& all) {
  std::vector<std::string> kinds = source.bounds.schedules;
  if (kinds.empty()) {
    const std::span<const std::string_view> known = source.base.habits().schedules;
    const std::vector<std::string> tried =
        known.empty() ? std::vector<std::string>{"1f1b", "interleaved", "zb_h1",    "zb_h2",
                                                 "zb_v", "chimera",     "dualpipe", "dualpipev"}
                      : std::vector<std::string>(known.begin(), known.end());
    kinds = with_own(tried, source.document, "schedule");
    std::erase(kinds, "zb_auto");
  }
  drop_repeated(kinds);
  for (const std::string& kind : kinds) {
    std::vector<std::int64_t> chunks{0};
    if (has_chunks(kind))
      chunks = source.bounds.chunks.empty() ? std::vector<std::int64_t>{2, 3, 4} : source.bounds.chunks;
    drop_repeated(chunks);
    for (const std::int64_t count : chunks) {
      Value part = part_with_kind(source.document, "schedule", kind);
      if (count > 0) part.set("chunks", value_of(count, "search"));
      Reader reader(part, "schedule");
      all.schedules.push_back({kind, count, make_member(reader, schedules(), "pipeline schedule")});
    }
  }
}

void add_syncs(const ChoiceSource& source, Choices& all) {
  std::vector<std::string> kinds = source.bounds.gradient_syncs;
  if (kinds.empty()) kinds = with_own({"zero1", "zero2", "zero3"}, source.document, "gradient_sync");
  for (const std::string& kind : kinds) {
    const Value part = part_with_kind(source.document, "gradient_sync", kind);
    Reader reader(part, "gradient_sync");
    const GradientPlan plan = make_member(reader, gradient_syncs(), "gradient_sync")->plan();
    const bool is_known = std::any_of(all.syncs.begin(), all.syncs.end(),
                                      [&](const SyncChoice& known) { return known.plan == plan; });
    if (!is_known) all.syncs.push_back({kind, plan});
  }
}

/// Of those that are not given, such as the software has.
void add_recomputes(const ChoiceSource& source, Choices& all) {
  const auto add = [&](const Recompute& recompute) {
    const Fit as = recomputes_as(source.base.habits(), recompute);
    if (const Fit fit = as ? as : recomputes_beside(source.base.offload, recompute)) {
      if (source.bounds.recomputes.empty()) return;
      throw InputError("search.recompute", fit->what());
    }
    std::vector<std::string> names = names_of(recompute);
    for (const RecomputeChoice& known : all.recomputes) {
      if (known.names == names) return;
    }
    all.recomputes.push_back({std::move(names), recompute});
  };
  for (const RecomputeChoice& choice : source.bounds.recomputes) add(choice.recompute);
  if (!all.recomputes.empty()) return;
  add({});
  add({.norm = true, .activation = true});
  add({.full = true});
  add(source.base.recompute);
}

void add_placements(const ChoiceSource& source, Choices& all) {
  const auto add = [&](const std::vector<Axis>& placement) {
    const std::vector<Axis> whole = Layout(Sizes{}, placement).placement();
    if (std::find(all.placements.begin(), all.placements.end(), whole) == all.placements.end())
      all.placements.push_back(whole);
  };
  for (const std::vector<Axis>& placement : source.bounds.placements) add(placement);
  if (!all.placements.empty()) return;
  add({Axis::tensor, Axis::expert, Axis::data, Axis::pipeline});
  add({Axis::tensor, Axis::expert, Axis::pipeline, Axis::data});
  add(source.base.layout.placement());
}

std::string joined(const auto& names) { return fmt::format("{}", fmt::join(names, "+")); }

std::vector<std::string> names_of(const std::vector<Axis>& placement) {
  std::vector<std::string> names;
  names.reserve(placement.size());
  for (const Axis axis : placement) names.emplace_back(at(axis_names, axis));
  return names;
}

std::string print_schedule(const std::string& kind, std::int64_t chunks) {
  return chunks > 0 ? fmt::format("{} of {} chunks", kind, chunks) : kind;
}

/// A text where no value of the axis is like that.
std::string unless_any(const auto& values, const auto& is_own, const auto& text) {
  return std::any_of(values.begin(), values.end(), is_own) ? std::string() : text();
}

constexpr ChoiceAxis of_schedule{
    .key = "schedule",
    .add = add_schedules,
    .count = [](const Choices& all) { return all.schedules.size(); },
    .name = [](const Choices& all,
               std::size_t i) { return print_schedule(all.schedules[i].kind, all.schedules[i].chunks); },
    .find =
        [](const Choices& all, const Chosen& chosen, FoundPlan& plan) {
          plan.schedule = all.schedules[chosen.schedule].kind;
          plan.chunks = all.schedules[chosen.schedule].chunks;
        },
    .own =
        [](const Value& document, const Scenario& scenario, FoundPlan& plan) {
          plan.schedule = kind_of(document, "schedule", "1f1b");
          plan.chunks = has_chunks(plan.schedule) ? scenario.schedule->chunks() : 0;
        },
    .outside =
        [](const Choices& all, const Scenario&, const FoundPlan& plan) {
          const auto is_own = [&](const ScheduleChoice& choice) {
            return choice.kind == plan.schedule && choice.chunks == plan.chunks;
          };
          return unless_any(all.schedules, is_own,
                            [&] { return print_schedule(plan.schedule, plan.chunks); });
        }};

constexpr ChoiceAxis of_recompute{
    .key = "recompute",
    .add = add_recomputes,
    .count = [](const Choices& all) { return all.recomputes.size(); },
    .name = [](const Choices& all, std::size_t i) { return joined(all.recomputes[i].names); },
    .find = [](const Choices& all, const Chosen& chosen,
               FoundPlan& plan) { plan.recompute = all.recomputes[chosen.recompute].names; },
    .own = [](const Value&, const Scenario& scenario,
              FoundPlan& plan) { plan.recompute = names_of(scenario.recompute); },
    .outside =
        [](const Choices& all, const Scenario&, const FoundPlan& plan) {
          const auto is_own = [&](const RecomputeChoice& choice) { return choice.names == plan.recompute; };
          return unless_any(all.recomputes, is_own, [&] { return "recompute " + joined(plan.recompute); });
        }};

constexpr ChoiceAxis of_gradient_sync{
    .key = "gradient_sync",
    .add = add_syncs,
    .count = [](const Choices& all) { return all.syncs.size(); },
    .name = [](const Choices& all, std::size_t i) { return all.syncs[i].kind; },
    .find = [](const Choices& all, const Chosen& chosen,
               FoundPlan& plan) { plan.gradient_sync = all.syncs[chosen.sync].kind; },
    .own = [](const Value& document, const Scenario&,
              FoundPlan& plan) { plan.gradient_sync = kind_of(document, "gradient_sync", "zero1"); },
    .outside =
        [](const Choices& all, const Scenario& scenario, const FoundPlan& plan) {
          const auto is_own = [&](const SyncChoice& choice) { return choice.plan == scenario.gradient_sync; };
          return unless_any(all.syncs, is_own, [&] { return plan.gradient_sync; });
        }};

constexpr ChoiceAxis of_placement{
    .key = "placement",
    .add = add_placements,
    .count = [](const Choices& all) { return all.placements.size(); },
    .name = [](const Choices& all, std::size_t i) { return joined(names_of(all.placements[i])); },
    .find = [](const Choices& all, const Chosen& chosen,
               FoundPlan& plan) { plan.placement = names_of(all.placements[chosen.placement]); },
    .own = [](const Value&, const Scenario& scenario,
              FoundPlan& plan) { plan.placement = names_of(scenario.layout.placement()); },
    .outside =
        [](const Choices& all, const Scenario& scenario, const FoundPlan& plan) {
          const auto is_own = [&](const std::vector<Axis>& placement) {
            return Layout(plan.sizes, placement).lays_as(scenario.layout, true);
          };
          return unless_any(all.placements, is_own, [&] { return "placement " + joined(plan.placement); });
        }};

constexpr std::array axes{of_schedule, of_recompute, of_gradient_sync, of_placement};

constexpr std::array keys{
    PlanKey{"schedule", "schedule.kind", [](const FoundPlan& plan) { return value_of(plan.schedule); }},
    PlanKey{"chunks", "schedule.chunks",
            [](const FoundPlan& plan) { return plan.chunks > 0 ? value_of(plan.chunks) : Value{}; }},
    PlanKey{"recompute", "recompute", [](const FoundPlan& plan) { return list_of(plan.recompute); }},
    PlanKey{"gradient_sync", "gradient_sync.kind",
            [](const FoundPlan& plan) { return value_of(plan.gradient_sync); }},
    PlanKey{"placement", "parallelism.placement",
            [](const FoundPlan& plan) { return list_of(plan.placement); }},
    PlanKey{"layers_per_stage", "parallelism.layers_per_stage",
            [](const FoundPlan& plan) { return list_of(plan.layers_per_stage); }, false}};

/// Part by part.
constexpr std::array<const SizeAxis*, size_axes.size()> in_order_of_parts() {
  std::array<const SizeAxis*, size_axes.size()> all{};
  std::size_t next = 0;
  for (std::size_t part = 0; part < size_part_count; ++part) {
    for (const SizeAxis& axis : size_axes) {
      if (axis.part == static_cast<SizePart>(part)) all[next++] = &axis;
    }
  }
  return all;
}
constexpr std::array<const SizeAxis*, size_axes.size()> sizes_as_told = in_order_of_parts();

}  // namespace

std::string print(const FoundPlan& plan) {
  std::string recompute = fmt::format("{}", fmt::join(plan.recompute, "+"));
  return print(PlanChoices{
      .sizes = plan.sizes,
      .microbatch = plan.microbatch,
      .schedule = plan.chunks > 0 ? fmt::format("{} (chunks={})", plan.schedule, plan.chunks) : plan.schedule,
      .precision = {},
      .recompute = recompute == "none" ? std::string() : std::move(recompute),
      .gradient_sync = plan.gradient_sync,
      .placement = plan.placement});
}

std::span<const ChoiceAxis> choice_axes() { return axes; }

std::span<const PlanKey> plan_keys() { return keys; }

std::span<const SizeAxis* const> told_sizes() { return sizes_as_told; }

}  // namespace moesim
