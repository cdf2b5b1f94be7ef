#include "sim/read/search_bounds.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/text.hpp"
#include "models/config/fields.hpp"
#include "models/config/values.hpp"
#include "sim/gradient/gradient_sync.hpp"
#include "sim/read/parts.hpp"
#include "sim/read/recompute.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

constexpr std::int64_t largest = 1'000'000'000;

/// An object whose key `name` holds `words`, so that errors are those of the key.
Value with_list(std::string_view name, const std::vector<std::string>& words, const std::string& origin) {
  Value object = empty_object(origin);
  object.set(name, list_of(words, origin));
  return object;
}

/// Each once, in rising order.
std::vector<std::int64_t> read_sizes(Reader& reader, std::string_view name, std::string_view help) {
  std::vector<std::int64_t> sizes =
      reader.integers({.name = name, .help = help, .at_least = 1, .at_most = largest});
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

template <class Interface>
std::vector<std::string> known_names(Reader& reader, const Key<std::string>& key,
                                     Register<Interface> members) {
  std::vector<std::string> names = reader.texts(key);
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
    const Value part = with_list("recompute", choice.names, reader.value().origin);
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
    const Value part = with_list("placement", split(text, '+'), reader.value().origin);
    placements.push_back(read_parallelism(Reader(part, "search")).placement);
  }
  return placements;
}

}  // namespace

SearchBounds read_search_bounds(Reader reader) {
  SearchBounds bounds;
  read_fields(
      reader, bounds,
      field(&SearchBounds::memory_limit, {.name = "memory_limit",
                                          .help = "device memory that a plan may take (0: all that there is)",
                                          .fallback = Bytes{0},
                                          .at_least = Bytes{0}}));
  for (std::size_t axis = 0; axis < size_axes.size(); ++axis)
    bounds.sizes[axis] = read_sizes(reader, size_axes[axis].key, size_axes[axis].help);
  bounds.chunks = read_sizes(
      reader, "chunks",
      "chunks of a rank to try with interleaved, zb_interleaved and looped_bfs (default: 2, 3 and 4)");
  bounds.schedules = known_names(
      reader,
      {.name = "schedule",
       .help =
           "schedules to try (default: those of the software; of any 1f1b, interleaved, zb_h1, zb_h2, zb_v, "
           "chimera, dualpipe, dualpipev; and the scenario's)"},
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
  read_fields(reader, bounds,
              field(&SearchBounds::empty_stages,
                    {.name = "empty_stages",
                     .help = "plans may have stages without layers, where the others then have as many each",
                     .fallback = false}));
  reader.finish();
  return bounds;
}

}  // namespace moesim
