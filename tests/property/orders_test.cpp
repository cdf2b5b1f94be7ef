// Laws of all pipeline schedules: each member of the register is asked for pipelines of random sizes and
// durations, and whatever it answers must hold. A new member is covered as soon as it is registered.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "tests/support/orders.hpp"
#include "tests/support/rendezvous.hpp"

using namespace moesim;
using testing::durations_of;
using testing::Receives;
using testing::schedule_of;

namespace {

constexpr std::uint64_t pipelines = 60;

Time random_time(RandomStream& random) { return Time{1 + static_cast<std::int64_t>(random.below(1000))}; }

/// 1 to 20 ranks, 1 to 60 microbatches, fewer and more than ranks. Every other pipeline is one that also a
/// schedule with demands on sizes serves.
PipelineShape shape_of(std::uint64_t number) {
  RandomStream random = Random(1).stream("orders", number);
  PipelineShape shape;
  shape.ranks = 1 + static_cast<std::int64_t>(random.below(20));
  shape.microbatches = 1 + static_cast<std::int64_t>(random.below(60));
  if (number % 2 == 1) {
    shape.ranks += shape.ranks % 2;
    shape.microbatches = shape.ranks * (1 + static_cast<std::int64_t>(random.below(4)));
  }
  shape.forward = random_time(random);
  shape.backward_input = random_time(random);
  shape.backward_weight = random_time(random);
  shape.send = Time{static_cast<std::int64_t>(random.below(3) * random.below(500))};
  return shape;
}

/// A pair takes at least as long as its longer pass, at most as long as both.
PassDurations random_durations(std::uint64_t number) {
  RandomStream random = Random(2).stream("durations", number);
  PassDurations durations = durations_of(shape_of(number));
  const Time longer = std::max(durations.forward, durations.backward_input + durations.backward_weight);
  const Time both = durations.overlapped;
  durations.overlapped =
      longer +
      Time{static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>((both - longer).count) + 1))};
  return durations;
}

/// Calls `law` with every order that every member makes of the random pipelines.
template <class Law>
void for_all_orders(Law law) {
  for (const Entry<Schedule>* member : schedules()) {
    const std::string name(member->name);
    const auto schedule = schedule_of(name);
    std::uint64_t served = 0;
    for (std::uint64_t number = 0; number < pipelines; ++number) {
      const PipelineShape shape = shape_of(number);
      INFO(name << ", pipeline " << number << ": " << shape.ranks << " ranks, " << shape.microbatches
                << " microbatches");
      if (schedule->fits(shape)) continue;
      ++served;
      law(name, number, schedule->order(shape));
    }
    INFO(name);
    CHECK(served >= pipelines / 4);
  }
}

/// The end of each pass by what it makes: an activation or a gradient of (chain, stage, microbatch).
class Made {
 public:
  Made(const Order& order, const Replay& times) : order_(order) {
    for (std::size_t r = 0; r < order.ranks.size(); ++r) {
      for (std::size_t i = 0; i < order.ranks[r].size(); ++i) {
        const Slot& slot = order.ranks[r][i];
        if (slot.pass == Pass::backward_weight) continue;
        ends_[{slot.pass == Pass::forward, stage_of(r, slot), slot.microbatch}] = {times.ends[r][i], r};
      }
    }
  }

  std::size_t stage_of(std::size_t rank, const Slot& slot) const {
    const std::vector<Place>& chain = chain_of(slot);
    for (std::size_t s = 0; s < chain.size(); ++s) {
      if (chain[s].rank == static_cast<std::int32_t>(rank) && chain[s].chunk == slot.chunk) return s;
    }
    throw std::logic_error("a slot that is not on its microbatch's way");
  }

  /// When what the slot needs is on its rank, the beginning where it needs nothing.
  Time needed(std::size_t rank, const Slot& slot, Time send) const {
    const std::size_t stage = stage_of(rank, slot);
    const bool last = stage + 1 == chain_of(slot).size();
    if (slot.pass == Pass::forward) return stage == 0 ? Time{} : end(true, stage - 1, rank, slot, send);
    const bool own_gradient = slot.pass == Pass::backward_weight;
    if (own_gradient && ends_.count({false, stage, slot.microbatch}) > 0)
      return end(false, stage, rank, slot, send);
    const Time own_forward = end(true, stage, rank, slot, send);
    return last ? own_forward : std::max(own_forward, end(false, stage + 1, rank, slot, send));
  }

 private:
  const std::vector<Place>& chain_of(const Slot& slot) const {
    return order_.chains[order_.chain_of_microbatch[static_cast<std::size_t>(slot.microbatch)]];
  }
  Time end(bool forward, std::size_t stage, std::size_t rank, const Slot& slot, Time send) const {
    const auto [time, maker] = ends_.at({forward, stage, slot.microbatch});
    return maker == rank ? time : time + send;
  }

  const Order& order_;
  std::map<std::tuple<bool, std::size_t, std::int32_t>, std::pair<Time, std::size_t>> ends_;
};

/// Microbatches of the largest group of an interleaved schedule.
std::int64_t group_of(std::int64_t p, std::int64_t m) {
  const std::int64_t groups = std::max(std::int64_t{1}, m / p);
  return (m + groups - 1) / groups;
}

/// The most microbatch-chunks that the schedule's paper lets rank r of p hold, of m microbatches.
using MemoryBound = std::int64_t (*)(std::int64_t p, std::int64_t r, std::int64_t m);

const std::map<std::string, MemoryBound>& memory_bounds() {
  using Int = std::int64_t;
  static const std::map<std::string, MemoryBound> bounds = {
      {"sequential", [](Int, Int, Int) -> Int { return 1; }},
      {"gpipe", [](Int, Int, Int m) { return m; }},
      {"1f1b", [](Int p, Int r, Int m) { return std::min(m, p - r); }},
      {"interleaved",  // two chunks
       [](Int p, Int r, Int m) { return std::min(2 * m, 2 * (p - r - 1) + group_of(p, m) + 1); }},
      {"looped_bfs", [](Int, Int, Int m) { return 2 * m; }},  // two chunks
      {"zb_h1", [](Int p, Int, Int m) { return std::min(m, p); }},
      {"zb_h2", [](Int p, Int, Int m) { return std::min(m, 2 * p - 1); }},
      {"zb_interleaved",
       [](Int p, Int, Int m) { return std::min(2 * m, p + group_of(p, m)); }},  // two chunks
      // Halves of a stage: p/2 + 1 microbatches, and p/3 and one or two more.
      {"v_half", [](Int p, Int, Int m) { return std::min(2 * m, 2 * (p / 2 + 1)); }},
      {"v_min", [](Int p, Int, Int m) { return std::min(2 * m, 2 * ((p + 4) / 3)); }},
      {"zb_v", [](Int p, Int, Int m) { return std::min(2 * m, 2 * p); }},  // halves of a stage
      {"chimera", [](Int p, Int, Int m) { return std::min(m, p); }},
      {"dualpipe", [](Int p, Int, Int) { return p + 1; }},
      {"dualpipev", [](Int p, Int, Int) { return 2 * p + 1; }}};  // halves of a stage
  return bounds;
}

}  // namespace

TEST_CASE("Every order has each pass of each microbatch and chunk once, F before B before W") {
  for_all_orders([](const std::string&, std::uint64_t number, const Order& order) {
    CHECK_NOTHROW(check(order));
    const PipelineShape shape = shape_of(number);
    CHECK(order.ranks.size() == static_cast<std::size_t>(shape.ranks));
    CHECK(order.microbatches() == shape.microbatches);
  });
}

TEST_CASE("Every order can be run, and no pass starts before what it needs is there") {
  for_all_orders([](const std::string&, std::uint64_t number, const Order& order) {
    const PassDurations durations = random_durations(number);
    const Replay times = replay(order, durations);
    const Made made(order, times);
    std::int64_t early = 0;
    std::int64_t at_once = 0;
    for (std::size_t r = 0; r < order.ranks.size(); ++r) {
      for (std::size_t i = 0; i < order.ranks[r].size(); ++i) {
        const bool second = i > 0 && order.ranks[r][i - 1].overlapped;
        if (times.starts[r][i] < made.needed(r, order.ranks[r][i], durations.send)) ++early;
        if (i > 0 && !second && times.starts[r][i] < times.ends[r][i - 1]) ++at_once;
      }
    }
    CHECK(early == 0);
    CHECK(at_once == 0);
  });
}

// What is proved: for every order there is a fixed place for each receive, at a boundary between two passes
// of the receiver, so that a pipeline whose sends block until the receiver has come to that place always
// ends, however long its passes and sends take. The place is the first boundary that any one replay of the
// order reaches once the message exists. For then all messages of one boundary of a rank have been made
// between the starts of the passes before and after it; a rank that is waited for stands at an earlier
// boundary than the message's, so it waits itself for one made strictly earlier, and no circle of waiting
// ranks can close.
TEST_CASE("No order deadlocks when sends block until the receiver has come to the receive") {
  for_all_orders([](const std::string&, std::uint64_t number, const Order& order) {
    CHECK(testing::ends_with_blocking_sends(order, replay(order, random_durations(number)),
                                            Receives::when_sent));
    const PassDurations units{Time{1}, Time{1}, Time{1}, Time{3}, Time{}};
    CHECK(testing::ends_with_blocking_sends(order, replay(order, units), Receives::when_sent));
  });
}

TEST_CASE(
    "Plain schedules end with blocking sends even if a rank receives only when it has nothing else to do") {
  for_all_orders([](const std::string& name, std::uint64_t number, const Order& order) {
    static constexpr std::string_view plain[] = {"sequential", "gpipe", "1f1b", "zb_h1", "chimera"};
    if (std::find(std::begin(plain), std::end(plain), name) == std::end(plain)) return;
    CHECK(testing::ends_with_blocking_sends(order, replay(order, random_durations(number)),
                                            Receives::just_in_time));
  });
}

TEST_CASE("Blocking sends that are received too late are found to deadlock") {
  // Rank 1 returns a gradient before it looks for the next activation; rank 0 hands on all activations before
  // it looks for a gradient.
  const PipelineShape shape{.ranks = 2, .microbatches = 3};
  Order order = empty_order(shape, straight_chains(shape.ranks));
  for (std::int32_t i = 0; i < 3; ++i) order.ranks[0].push_back({.pass = Pass::forward, .microbatch = i});
  for (std::int32_t i = 0; i < 3; ++i) {
    order.ranks[0].push_back({.pass = Pass::backward, .microbatch = i});
    order.ranks[1].push_back({.pass = Pass::forward, .microbatch = i});
    order.ranks[1].push_back({.pass = Pass::backward_input, .microbatch = i});
    order.ranks[1].push_back({.pass = Pass::backward_weight, .microbatch = i});
  }
  check(order);
  const Replay times = replay(order, durations_of(shape));
  CHECK_FALSE(testing::ends_with_blocking_sends(order, times, Receives::just_in_time));
  CHECK(testing::ends_with_blocking_sends(order, times, Receives::when_sent));
}

TEST_CASE(
    "No rank holds more microbatches than the schedule's paper says, and with enough of them one does") {
  std::map<std::string, bool> reached;
  for_all_orders([&](const std::string& name, std::uint64_t number, const Order& order) {
    const PipelineShape shape = shape_of(number);
    const auto bound = memory_bounds().find(name);
    for (std::size_t r = 0; r < order.ranks.size(); ++r) {
      const std::int64_t peak = peak_in_flight(order.ranks[r]);
      if (bound == memory_bounds().end()) {
        CHECK(peak <= shape.microbatches * schedule_of(name)->chunks());
      } else {
        const std::int64_t most =
            bound->second(shape.ranks, static_cast<std::int64_t>(r), shape.microbatches);
        CHECK(peak <= most);
        reached[name] =
            reached[name] || (peak == most && shape.microbatches > shape.ranks && shape.ranks > 2);
      }
    }
  });
  for (const auto& [name, bound] : memory_bounds()) {
    INFO(name);
    CHECK(reached[name]);
  }
}

TEST_CASE("An order goes along the chains of its schedule, both ways as often") {
  for_all_orders([](const std::string& name, std::uint64_t number, const Order& order) {
    const auto schedule = schedule_of(name);
    CHECK(order.chains == schedule->chains(shape_of(number).ranks));
    CHECK(chunks_of(order.chains) == schedule->chunks());
    const auto second = std::count(order.chain_of_microbatch.begin(), order.chain_of_microbatch.end(), 1);
    CHECK(second == (schedule->is_bidirectional() ? order.microbatches() / 2 : 0));
  });
}

TEST_CASE("A step takes at least the work of a rank and a microbatch's way there and back") {
  for_all_orders([](const std::string& name, std::uint64_t number, const Order& order) {
    const PipelineShape shape = shape_of(number);
    const PassDurations durations = durations_of(shape);
    const Replay times = replay(order, durations);
    const std::int64_t chunks = schedule_of(name)->chunks();
    const bool both_ways = schedule_of(name)->is_bidirectional();
    const Time work = testing::work_of(shape) * (both_ways ? 1 : chunks);
    CHECK(times.makespan >= work);
    CHECK(times.longest_span() >= work);
    CHECK(times.makespan >= times.longest_span());
    CHECK(times.makespan >= (shape.forward + shape.backward_input) * order.model_stages() +
                                shape.backward_weight + shape.send * (2 * (shape.ranks - 1)));
  });
}
