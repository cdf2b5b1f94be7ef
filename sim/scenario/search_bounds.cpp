#include "sim/scenario/search_bounds.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/text.hpp"
#include "models/config/values.hpp"
#include "sim/gradient/gradient_sync.hpp"
#include "sim/scenario/parts.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

constexpr std::int64_t largest = 1'000'000'000;

/// Reads `words` as the value of a key of its own, so that errors are those of that key.
template <class Interface>
std::vector<std::string> known_names(Reader& reader, const Key<std::string>& key,
                                     Register<Interface> members) {
  const std::vector<std::string> names = reader.texts(key);
  const std::vector<std::string_view> known = member_names(members);
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    reader.fail(key.name, fmt::format("unknown '{}' (known: {})", name, fmt::join(known, ", ")));
  }
  return names;
}

std::vector<RecomputeChoice> read_recomputes(Reader& reader) {
  std::vector<RecomputeChoice> choices;
  for (const std::string& text :
       reader.texts({.name = "recompute",
       .help = "what may be computed again in backward, parts of one choice joined by + "
               "(default: none, norm+activation, full, and what the scenario says)"})) {
    RecomputeChoice choice{.names = split(text, '+'), .recompute = {}};
    Value part = empty_object(reader.value().origin);
    part.set("recompute", list_of(choice.names, part.origin));
    Reader of_choice(part, "search");
    choice.recompute = read_recompute(of_choice);
    choices.push_back(std::move(choice));
  }
  return choices;
}

std::vector<std::vector<Axis>> read_placements(Reader& reader) {
  std::vector<std::vector<Axis>> placements;
  for (const std::string& text :
       reader.texts({.name = "placement",
       .help = "orders of the dimensions over neighbouring devices, innermost first and joined by "
               "+, as tensor+expert+data+pipeline (default: that one, tensor+expert+pipeline+data "
               "and what the scenario says)"})) {
    Value part = empty_object(reader.value().origin);
    part.set("placement", list_of(split(text, '+'), part.origin));
    placements.push_back(read_parallelism(Reader(part, "search")).placement);
  }
  return placements;
}

}  // namespace

SearchBounds read_search_bounds(Reader reader) {
  SearchBounds bounds;
  bounds.memory_limit = reader.bytes({.name = "memory_limit",
                                      .help = "device memory that a plan may take (0: all that there is)",
                                      .fallback = Bytes{0},
                                      .at_least = Bytes{0}});
  const auto sizes = [&](std::string_view name, std::string_view help) {
    std::vector<std::int64_t> values =
        reader.integers({.name = name, .help = help, .at_least = 1, .at_most = largest});
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    return values;
  };
  bounds.pipeline = sizes("pipeline", "pipeline ranks to try (default: every divisor of the devices)");
  bounds.tensor = sizes("tensor", "tensor-parallel sizes to try (default: the same)");
  bounds.context = sizes("context", "context-parallel sizes to try (default: the same)");
  bounds.expert = sizes("expert", "expert-parallel sizes to try (default: the same)");
  bounds.expert_tensor =
      sizes("expert_tensor", "tensor-parallel sizes of experts to try (default: the same)");
  bounds.data = sizes("data", "data-parallel sizes to allow (default: all)");
  bounds.microbatch = sizes("microbatch", "sequences of a microbatch to try (default: every power of two)");
  bounds.chunks = sizes("chunks", "chunks of a rank to try with interleaved (default: 2, 3 and 4)");
  bounds.schedules = known_names(
      reader,
      {.name = "schedule",
       .help =
           "schedules to try (default: 1f1b, interleaved, zb_h1, zb_h2, zb_v, chimera, dualpipe, dualpipev "
           "and the scenario's)"},
      schedules());
  if (std::find(bounds.schedules.begin(), bounds.schedules.end(), "zb_auto") != bounds.schedules.end()) {
    reader.fail("schedule", "zb_auto fits its order to each plan's durations, which the estimate cannot do");
  }
  bounds.recomputes = read_recomputes(reader);
  bounds.gradient_syncs = known_names(
      reader,
      {.name = "gradient_sync",
       .help = "ways of gradient synchronisation to try (default: zero1, zero2, zero3 and the scenario's)"},
      gradient_syncs());
  bounds.placements = read_placements(reader);
  bounds.empty_stages = reader.flag({.name = "empty_stages",
                                     .help = "plans may have stages without layers, where the others then "
                                             "have as many each",
                                     .fallback = false});
  reader.finish();
  return bounds;
}

}  // namespace moesim
