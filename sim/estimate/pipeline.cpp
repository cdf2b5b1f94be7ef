#include "sim/estimate/pipeline.hpp"

#include <algorithm>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/base/hash.hpp"
#include "sim/schedule/replay.hpp"
#include "sim/schedule/stage.hpp"

namespace moesim {
namespace {

/// F : B : W : F with BW : send, from balanced passes over recomputation (long B) to small weight gradients.
constexpr std::array<PassDurations, 5> typical{
    PassDurations{Time{1000}, Time{1000}, Time{1000}, Time{3000}, Time{10}},
    PassDurations{Time{1000}, Time{1300}, Time{700}, Time{2200}, Time{20}},
    PassDurations{Time{1000}, Time{2000}, Time{900}, Time{3000}, Time{100}},
    PassDurations{Time{1000}, Time{1500}, Time{300}, Time{2500}, Time{300}},
    PassDurations{Time{1000}, Time{1000}, Time{500}, Time{2000}, Time{0}}};

void count(PassCounts& counts, const Slot& slot, double times = 1) {
  if (slot.overlapped) {
    counts.overlapped += times;
  } else if (slot.pass == Pass::forward) {
    counts.forward += times;
  } else if (slot.pass == Pass::backward_weight) {
    counts.backward_weight += times;
  } else {
    (slot.pass == Pass::backward ? counts.backward : counts.backward_input) += times;
  }
}

/// Walks back from the last slot to end, each time to what it waited for.
class LongestPath {
 public:
  LongestPath(const Order& order, const PassDurations& durations)
      : order_(order), send_(durations.send), times_(replay(order, durations)) {
    const auto cells = static_cast<std::size_t>(order.model_stages() * order.microbatches());
    forwards_.resize(cells);
    backwards_.resize(cells);
    for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) {
      for (std::size_t i = 0; i < order.ranks[rank].size(); ++i) {
        const Slot& slot = order.ranks[rank][i];
        if (slot.pass == Pass::backward_weight) continue;
        (slot.pass == Pass::forward ? forwards_ : backwards_)[cell(stage(rank, slot), slot)] = {rank, i};
      }
    }
  }

  PassCounts counts() {
    At at = last();
    PassCounts counts;
    while (true) {
      if (is_second_half(at)) --at.slot;
      count(counts, slot(at));
      if (start(at).count == 0 || !step_back(at, counts)) return counts;
    }
  }

 private:
  struct At {
    std::size_t rank = 0, slot = 0;
  };

  const Slot& slot(const At& at) const { return order_.ranks[at.rank][at.slot]; }
  Time start(const At& at) const { return times_.starts[at.rank][at.slot]; }
  Time end(const At& at) const { return times_.ends[at.rank][at.slot]; }
  std::size_t stage(std::size_t rank, const Slot& s) const {
    return stage_of(order_, static_cast<std::int64_t>(rank), s);
  }
  std::size_t cell(std::size_t stage, const Slot& s) const {
    return stage * static_cast<std::size_t>(order_.microbatches()) + static_cast<std::size_t>(s.microbatch);
  }
  bool is_second_half(const At& at) const {
    return at.slot > 0 && order_.ranks[at.rank][at.slot - 1].overlapped;
  }

  At last() const {
    At latest;
    for (std::size_t rank = 0; rank < order_.ranks.size(); ++rank) {
      if (order_.ranks[rank].empty()) continue;
      const At here{rank, order_.ranks[rank].size() - 1};
      if (order_.ranks[latest.rank].empty() || end(here) > end(latest) || rank == 0) latest = here;
    }
    return latest;
  }

  bool step_back(At& at, PassCounts& counts) const {
    const Time begin = start(at);
    const bool is_pair = slot(at).overlapped;
    for (std::size_t half = 0; half < (is_pair ? 2U : 1U); ++half) {
      if (came_from_stage({at.rank, at.slot + half}, begin, at, counts)) return true;
    }
    if (at.slot == 0) return false;
    --at.slot;
    return true;
  }

  bool came_from_stage(const At& waiting, Time begin, At& at, PassCounts& counts) const {
    const Slot& s = slot(waiting);
    const std::optional<Need> need = needs_of(order_, static_cast<std::int64_t>(waiting.rank), s);
    if (!need || !need->crosses_stages()) return false;
    const At from = (need->is_gradient() ? backwards_ : forwards_)[cell(need->from_stage, s)];
    const bool sends = need->crosses_ranks();
    if (end(from) + (sends ? send_ : Time{}) != begin) return false;
    counts.send += sends ? 1 : 0;
    at = from;
    return true;
  }

  const Order& order_;
  Time send_;
  Replay times_;
  std::vector<At> forwards_, backwards_;  // by stage and microbatch
};

PassCounts work_of(const std::vector<Slot>& slots) {
  PassCounts work;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const bool is_second_half = i > 0 && slots[i - 1].overlapped;
    if (!is_second_half) count(work, slots[i]);
  }
  return work;
}

Arrivals arrivals_of(const Order& order, const StageTable& stages, std::size_t rank) {
  Arrivals come, all;
  for (const Slot& slot : order.ranks[rank]) {
    if (slot.pass == Pass::backward_weight) continue;
    const auto of = slot.pass == Pass::forward ? &Arrivals::forward : &Arrivals::backward;
    const std::optional<Need> need = needs_in_stage(order, stages.stage_of(rank, slot), slot);
    come.*of += need && need->crosses_ranks() ? 1 : 0;
    ++(all.*of);
  }
  const auto chunks = static_cast<double>(chunks_of(order.chains));
  return {come.forward * chunks / std::max(1.0, all.forward),
          come.backward * chunks / std::max(1.0, all.backward)};
}

std::vector<OverlappedChunks> overlapped_of(const std::vector<Slot>& slots) {
  std::vector<OverlappedChunks> all;
  for (std::size_t i = 0; i + 1 < slots.size(); ++i) {
    if (!slots[i].overlapped) continue;
    const OverlappedChunks pair{slots[i].chunk, slots[i + 1].chunk, 1};
    const auto known = std::find_if(all.begin(), all.end(), [&](const OverlappedChunks& other) {
      return other.forward == pair.forward && other.backward == pair.backward;
    });
    if (known == all.end()) {
      all.push_back(pair);
    } else {
      ++known->count;
    }
  }
  return all;
}

/// Whether whatever stages keep, the second moment holds at least as much as the first: more than nothing may
/// be held in the midst of its pass.
bool is_exceeded(const AliveMoment& moment, const AliveMoment& other) {
  if (!moment.is_alike(other) && !moment.is_alike({.chunks = {}})) return false;
  return std::equal(moment.chunks.begin(), moment.chunks.end(), other.chunks.begin(),
                    [](const AliveCounts& a, const AliveCounts& b) {
                      return a.for_backward <= b.for_backward && a.for_weight <= b.for_weight;
                    });
}

void add_moment(AliveMoment moment, std::vector<AliveMoment>& moments) {
  for (const AliveMoment& known : moments) {
    if (is_exceeded(moment, known)) return;
  }
  std::erase_if(moments, [&](const AliveMoment& known) { return is_exceeded(known, moment); });
  moments.push_back(std::move(moment));
}

void count_alive(const Slot& slot, std::vector<AliveCounts>& chunks) {
  AliveCounts& here = at(chunks, slot.chunk);
  here.for_backward += slot.pass == Pass::forward ? 1 : slot.pass == Pass::backward_weight ? 0 : -1;
  if (slot.pass == Pass::backward_input) ++here.for_weight;
  if (slot.pass == Pass::backward_weight) --here.for_weight;
}

std::vector<AliveMoment> moments_of(const std::vector<Slot>& slots, std::size_t chunks) {
  std::vector<AliveCounts> now(chunks);
  std::vector<AliveMoment> moments;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = slots[i];
    if (slot.pass == Pass::backward_input) add_moment({.chunks = now, .input = slot.chunk}, moments);
    if (slot.overlapped) {
      add_moment({.chunks = now, .forward = slot.chunk, .backward = slots[i + 1].chunk}, moments);
      count_alive(slots[i++], now);
    }
    count_alive(slots[i], now);
    add_moment({.chunks = now}, moments);
  }
  return moments;
}

std::uint64_t hash_of(const Order& order) {
  std::uint64_t hash = hash_with(hash_of_nothing, order.flows_into_next_step ? 1 : 0);
  for (const std::vector<Place>& chain : order.chains) {
    hash = hash_with(hash, chain.size());
    for (const Place& place : chain)
      hash = hash_with(hash_with(hash, static_cast<std::uint64_t>(place.rank)),
                       static_cast<std::uint64_t>(place.chunk));
  }
  for (const std::uint8_t chain : order.chain_of_microbatch) hash = hash_with(hash, chain);
  for (const std::vector<Slot>& slots : order.ranks) {
    hash = hash_with(hash, slots.size());
    for (const Slot& slot : slots) {
      const std::uint64_t what = static_cast<std::uint64_t>(slot.pass) * 2 + (slot.overlapped ? 1 : 0);
      hash = hash_with(hash_with(hash, what << 16 | static_cast<std::uint64_t>(slot.chunk)),
                       static_cast<std::uint64_t>(slot.microbatch));
    }
  }
  return hash;
}

PipelineProfile exact(const Schedule& schedule, std::int64_t ranks, std::int64_t microbatches) {
  PipelineProfile profile;
  const PipelineShape shape{.ranks = ranks, .microbatches = microbatches};
  if (schedule.fits(shape)) {
    profile.is_refused = true;
    return profile;
  }
  const Order order = schedule.order(shape);
  profile.order = hash_of(order);
  profile.stages = order.model_stages();
  profile.is_bidirectional = order.chains.size() > 1;
  profile.chunks = static_cast<std::size_t>(chunks_of(order.chains));
  profile.stage.resize(order.ranks.size() * profile.chunks);
  for (const std::vector<Place>& chain : order.chains) {
    for (std::size_t stage = 0; stage < chain.size(); ++stage) {
      profile.stage[static_cast<std::size_t>(chain[stage].rank) * profile.chunks +
                    static_cast<std::size_t>(chain[stage].chunk)] = stage;
    }
  }
  for (const std::vector<Slot>& slots : order.ranks) {
    profile.weights_apart |= std::any_of(slots.begin(), slots.end(),
                                         [](const Slot& slot) { return slot.pass == Pass::backward_weight; });
    profile.work.push_back(work_of(slots));
    profile.overlapped.push_back(overlapped_of(slots));
  }
  profile.is_head_apart = is_head_apart(order.chains);
  const StageTable stages(order);
  for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) {
    profile.moments.push_back(moments_of(order.ranks[rank], profile.chunks));
    profile.arrivals.push_back(arrivals_of(order, stages, rank));
  }
  for (const PassDurations& durations : typical)
    profile.paths.push_back(LongestPath(order, durations).counts());
  return profile;
}

/// a + (b - a) x factor, and never below zero.
double beyond(double a, double b, double factor) { return std::max(0.0, a + (b - a) * factor); }

void go_on(PassCounts& a, const PassCounts& b, double factor) {
  a.forward = beyond(a.forward, b.forward, factor);
  a.backward = beyond(a.backward, b.backward, factor);
  a.backward_input = beyond(a.backward_input, b.backward_input, factor);
  a.backward_weight = beyond(a.backward_weight, b.backward_weight, factor);
  a.overlapped = beyond(a.overlapped, b.overlapped, factor);
  a.send = beyond(a.send, b.send, factor);
}

/// Moments of both come in the same order. Where one has more of them, those are of a pipeline that is not
/// full for long, and stay as they are.
void go_on(std::vector<AliveMoment>& moments, const std::vector<AliveMoment>& more, double factor) {
  if (moments.size() != more.size()) return;
  for (std::size_t i = 0; i < moments.size(); ++i) {
    for (std::size_t chunk = 0; chunk < moments[i].chunks.size(); ++chunk) {
      AliveCounts& alive = moments[i].chunks[chunk];
      const AliveCounts& later = more[i].chunks[chunk];
      alive.for_backward = beyond(alive.for_backward, later.for_backward, factor);
      alive.for_weight = beyond(alive.for_weight, later.for_weight, factor);
    }
  }
}

}  // namespace

OfPasses& OfPasses::operator+=(const OfPasses& more) {
  forward += more.forward;
  backward += more.backward;
  backward_input += more.backward_input;
  backward_weight += more.backward_weight;
  overlapped += more.overlapped;
  send += more.send;
  return *this;
}

OfPasses& OfPasses::operator*=(double factor) {
  for (double* of : {&forward, &backward, &backward_input, &backward_weight, &overlapped, &send})
    *of *= factor;
  return *this;
}

PipelineProfile profile_of(const Schedule& schedule, std::int64_t ranks, std::int64_t microbatches) {
  const std::int64_t period = 2 * ranks;  // orders repeat after one or two rounds of the ranks
  const std::int64_t full = 4 * ranks + microbatches % period;
  // Where ranks do not divide the microbatches, how large groups of an interleaved order are depends on how
  // many there are.
  const bool in_groups = schedule.chunks() > 1 && microbatches % ranks != 0;
  if (in_groups || microbatches <= full + period) return exact(schedule, ranks, microbatches);
  PipelineProfile profile = exact(schedule, ranks, full);
  const PipelineProfile more = exact(schedule, ranks, full + period);
  if (profile.is_refused || more.is_refused) return exact(schedule, ranks, microbatches);
  profile.order = 0;  // of fewer microbatches
  const double factor = static_cast<double>(microbatches - full) / static_cast<double>(period);
  for (std::size_t i = 0; i < profile.work.size(); ++i) go_on(profile.work[i], more.work[i], factor);
  for (std::size_t i = 0; i < profile.paths.size(); ++i) go_on(profile.paths[i], more.paths[i], factor);
  for (std::size_t rank = 0; rank < profile.moments.size(); ++rank)
    go_on(profile.moments[rank], more.moments[rank], factor);
  return profile;
}

}  // namespace moesim
