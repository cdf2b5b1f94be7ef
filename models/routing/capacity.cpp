#include "models/routing/capacity.hpp"

#include <algorithm>

namespace moesim {

std::int64_t Capacity::rows(const Gate& gate, std::int64_t tokens, std::int64_t choices) const {
  const double even = static_cast<double>(tokens * choices) * factor / static_cast<double>(gate.experts);
  const auto most = static_cast<double>(tokens);
  return std::max(minimum, static_cast<std::int64_t>(std::min(most, even)));
}

std::int64_t TokenGroups::count(std::int64_t tokens) const {
  return most == 0 ? 1 : (tokens + most - 1) / most;
}

std::int64_t TokenGroups::largest(std::int64_t tokens) const {
  const std::int64_t groups = count(tokens);
  return (tokens + groups - 1) / groups;
}

TokenGroups read_token_groups(Reader& reader) {
  return {.most = reader.integer({.name = "group",
                                  .help = "tokens of a group at most; 0 takes all of a source as one",
                                  .fallback = 0,
                                  .at_least = 0,
                                  .at_most = 1'000'000'000})};
}

Capacity read_capacity(Reader& reader, double factor, std::int64_t minimum, std::string_view what) {
  Capacity capacity;
  capacity.factor = reader.number(
      {.name = "capacity_factor", .help = what, .fallback = factor, .at_least = 0.01, .at_most = 1000.0});
  capacity.minimum = reader.integer({.name = "minimum_capacity",
                                     .help = "minimum rows of an expert",
                                     .fallback = minimum,
                                     .at_least = 1,
                                     .at_most = 1'000'000});
  capacity.padded = reader.flag(
      {.name = "padded", .help = "buffers are sent and computed whole, full or not", .fallback = true});
  return capacity;
}

void clear(const Demand& demand, Loads& loads) {
  loads.sources = demand.sources;
  loads.experts = demand.gate.experts;
  loads.dropped = loads.skipped = loads.capacity = 0;
  loads.rows.assign(static_cast<std::size_t>(demand.sources * demand.gate.experts), 0);
}

}  // namespace moesim
