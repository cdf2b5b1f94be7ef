#include "sim/estimate/copy_times.hpp"

#include <algorithm>

namespace moesim {
namespace {

/// A pass as it goes through its layers.
struct Clock {
  Time now, stream;             ///< of the pass, and when the copies of its way have ended
  std::array<Time, 2> ready{};  ///< by block: the end of the copy that the pass meets next
};

void copy(Clock& clock, Time time, std::size_t block) {
  clock.stream = std::max(clock.stream, clock.now) + time;
  clock.ready[block] = clock.stream;
}

/// The first of these whose block copies something; null: none does.
const LayerCopies* next_of(std::span<const LayerCopies* const> layers, std::size_t block) {
  const auto next = std::find_if(layers.begin(), layers.end(),
                                 [&](const LayerCopies* one) { return one->times[block] > Time{}; });
  return next == layers.end() ? nullptr : *next;
}

void meet(const CopyMark& mark, const LayerCopies& layer, std::span<const LayerCopies* const> behind,
          Clock& clock) {
  if (layer.times[mark.block] == Time{}) return;
  const LayerCopies* next = next_of(behind, mark.block);
  if (mark.kind == ActKind::leaves) {
    if (next == nullptr) return;  // it stays
    const Time before = clock.ready[mark.block];
    copy(clock, layer.times[mark.block], mark.block);
    clock.now = std::max(clock.now, before);
  } else if (mark.kind == ActKind::returns) {
    clock.now = std::max(clock.now, clock.ready[mark.block]);
  } else if (next != nullptr) {
    copy(clock, next->times[mark.block], mark.block);
  }
}

}  // namespace

Time held_up(std::span<const LayerCopies* const> layers, Pass pass) {
  Clock clock;
  Time alone;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const LayerCopies& layer = *layers[i];
    for (const CopyMark& mark : at(layer.marks, pass)) {
      alone += mark.after;
      clock.now += mark.after;
      meet(mark, layer, layers.subspan(i + 1), clock);
    }
    alone += at(layer.rest, pass);
    clock.now += at(layer.rest, pass);
  }
  return clock.now - alone;
}

}  // namespace moesim
