#include "sim/schedule/order.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "models/base/at.hpp"

namespace moesim {
namespace {

/// How far each microbatch-chunk of a rank has come.
struct Progress {
  bool forward = false, input = false, weight = false;
};

[[noreturn]] void broken(std::size_t rank, const Slot& slot, std::string_view what) {
  throw std::logic_error(fmt::format("order of rank {}: {} of microbatch {}, chunk {} {}", rank,
                                     at(pass_letters, slot.pass), slot.microbatch, slot.chunk, what));
}

void advance(std::size_t rank, const Slot& slot, Progress& progress) {
  const bool input = slot.pass == Pass::backward || slot.pass == Pass::backward_input;
  const bool weight = slot.pass == Pass::backward || slot.pass == Pass::backward_weight;
  if (slot.pass == Pass::forward) {
    if (progress.forward) broken(rank, slot, "comes twice");
    progress.forward = true;
  }
  if (input) {
    if (!progress.forward) broken(rank, slot, "comes before its forward");
    if (progress.input) broken(rank, slot, "comes twice");
    progress.input = true;
  }
  if (weight) {
    if (!progress.input) broken(rank, slot, "comes before its input gradient");
    if (progress.weight) broken(rank, slot, "comes twice");
    progress.weight = true;
  }
}

void check_rank(const Order& order, std::size_t rank, std::size_t chunks) {
  const auto microbatches = static_cast<std::size_t>(order.microbatches());
  std::vector<Progress> progress(chunks * microbatches);
  const std::vector<Slot>& slots = order.ranks[rank];
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = slots[i];
    const bool fits = slot.microbatch >= 0 && static_cast<std::size_t>(slot.microbatch) < microbatches &&
                      slot.chunk >= 0 && static_cast<std::size_t>(slot.chunk) < chunks;
    if (!fits) broken(rank, slot, "is out of range");
    advance(rank, slot,
            progress[static_cast<std::size_t>(slot.chunk) * microbatches +
                     static_cast<std::size_t>(slot.microbatch)]);
    if (!slot.overlapped) continue;
    const bool pair = slot.pass == Pass::forward && i + 1 < slots.size() &&
                      slots[i + 1].pass == Pass::backward && !slots[i + 1].overlapped;
    if (!pair) broken(rank, slot, "overlaps with something else than the full backward that follows it");
  }
  for (std::size_t m = 0; m < microbatches; ++m) {
    for (const Place& place : order.chains[order.chain_of_microbatch[m]]) {
      if (place.rank != static_cast<std::int32_t>(rank)) continue;
      const Progress& done = progress[static_cast<std::size_t>(place.chunk) * microbatches + m];
      if (!done.forward || !done.input || !done.weight) {
        throw std::logic_error(
            fmt::format("order of rank {}: microbatch {}, chunk {} is not finished", rank, m, place.chunk));
      }
    }
  }
}

}  // namespace

void check(const Order& order) {
  const auto chunks = static_cast<std::size_t>(chunks_of(order.chains));
  for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) check_rank(order, rank, chunks);
}

std::int64_t chunks_of(const Chains& chains) {
  std::int64_t chunks = 0;
  for (const std::vector<Place>& chain : chains) {
    for (const Place& place : chain) chunks = std::max(chunks, std::int64_t{place.chunk} + 1);
  }
  return chunks;
}

bool is_head_apart(const Chains& chains) {
  const std::int32_t last = chains.front().back().rank;
  return std::none_of(chains.begin(), chains.end(),
                      [last](const std::vector<Place>& chain) { return chain.front().rank == last; });
}

std::int64_t peak_in_flight(const std::vector<Slot>& rank) {
  std::int64_t alive = 0;
  std::int64_t peak = 0;
  for (const Slot& slot : rank) {
    if (slot.pass == Pass::forward) peak = std::max(peak, ++alive);
    if (slot.pass == Pass::backward || slot.pass == Pass::backward_weight) --alive;
  }
  return peak;
}

}  // namespace moesim
