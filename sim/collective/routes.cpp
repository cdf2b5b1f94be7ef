#include "sim/collective/routes.hpp"

namespace moesim {
namespace {

constexpr std::size_t most_known = std::size_t{1} << 18;  // what comes later is found anew each time

}  // namespace

Route Routes::learn(DeviceId from, DeviceId to, std::uint32_t way) {
  const std::size_t place = next_++;
  if (place < known_.size()) known_.resize(place);  // another order begins here
  links_.resize(known_.empty() ? 0 : known_.back().end);
  const Known found = find(from, to, way);
  if (known_.size() == place && place < most_known) known_.push_back(found);
  return route_of(found);
}

/// Appends its links.
Routes::Known Routes::find(DeviceId from, DeviceId to, std::uint32_t way) {
  Known found{.from = from,
              .to = to,
              .way = way,
              .ways = fabric_.ways(from, to),
              .first = static_cast<std::uint32_t>(links_.size()),
              .end = 0,
              .leaves = false,
              .arrives = false};
  fabric_.route(from, to, links_, way);
  found.end = static_cast<std::uint32_t>(links_.size());
  if (found.first == found.end) return found;
  found.leaves = fabric_.link(links_[found.first]).from == from;
  found.arrives = fabric_.link(links_.back()).to == to;
  return found;
}

}  // namespace moesim
