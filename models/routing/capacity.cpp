#include "models/routing/capacity.hpp"

#include <algorithm>

namespace moesim {

std::int64_t Capacity::rows(const Gate& gate, std::int64_t tokens, std::int64_t choices) const {
  const double even = static_cast<double>(tokens * choices) * factor / static_cast<double>(gate.experts);
  const auto most = static_cast<double>(tokens);
  return std::max(minimum, static_cast<std::int64_t>(std::min(most, even)));
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
