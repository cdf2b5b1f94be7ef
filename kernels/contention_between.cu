// Computations on all GPUs of this process beside what goes between them.
#include <algorithm>
#include <cmath>
#include <optional>

#include "contention.hpp"
#include "exchange.hpp"
#include "grid.hpp"
#include "nccl.hpp"
#include "peers.hpp"
#include "progress.hpp"
#include "statistics.hpp"

namespace measure {
namespace {

constexpr int most_items = 80;
constexpr std::size_t mebibyte = std::size_t{1} << 20;

/// A stream and what happened in it: the ends of its items, the first one its beginning.
class Lane {
 public:
  Lane(int device, cudaStream_t stream) : device_(device), stream_(stream), events_(most_items + 1) {
    check(cudaSetDevice(device), "cudaSetDevice");
    for (cudaEvent_t& event : events_) check(cudaEventCreate(&event), "cudaEventCreate");
  }
  ~Lane() {
    for (cudaEvent_t event : events_) static_cast<void>(cudaEventDestroy(event));
  }
  Lane(Lane&& other) noexcept = default;
  void begin(const Gate& gate) {
    check(cudaSetDevice(device_), "cudaSetDevice");
    gate.hold(stream_);
    count_ = -1;
    note();
  }
  void note() {
    check(cudaSetDevice(device_), "cudaSetDevice");
    check(cudaEventRecord(events_[static_cast<std::size_t>(++count_)], stream_), "cudaEventRecord");
  }
  cudaStream_t stream() const { return stream_; }
  /// Seconds of its ends since `origin` began.
  std::vector<double> ends(const Lane& origin) const {
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    std::vector<double> times;
    for (int i = 0; i <= count_; ++i) {
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, origin.events_[0], events_[static_cast<std::size_t>(i)]),
            "cudaEventElapsedTime");
      times.push_back(1e-3 * milliseconds);
    }
    return times;
  }

 private:
  int device_;
  cudaStream_t stream_;
  std::vector<cudaEvent_t> events_;
  int count_ = -1;
};

/// How many items had ended at `time`, part of one counted by its share.
double ended(const std::vector<double>& ends, double time) {
  const auto next = std::upper_bound(ends.begin(), ends.end(), time);
  if (next == ends.begin()) return 0;
  if (next == ends.end()) return static_cast<double>(ends.size() - 1);
  const double before = *(next - 1);
  return static_cast<double>(next - ends.begin() - 1) + (time - before) / (*next - before);
}

struct Pace {
  double call = 0, round = 0;  ///< seconds, the mean of all devices
};

/// From when both had ended their first item until the first of them was through; nothing where it was
/// before the other had ended one.
std::optional<Pace> pace_of(const std::vector<double>& calls, const std::vector<double>& rounds) {
  const double begin = std::max(calls[1], rounds[1]), end = std::min(calls.back(), rounds.back());
  if (end <= begin) return std::nullopt;
  constexpr double least = 0.05;  // of an item: one that hardly moved on meanwhile
  return Pace{(end - begin) / std::max(least, ended(calls, end) - ended(calls, begin)),
              (end - begin) / std::max(least, ended(rounds, end) - ended(rounds, begin))};
}

/// The same in a lane on each device, again and again.
class Runner {
 public:
  Runner(std::vector<Lane> lanes, std::function<void(int)> launch)
      : lanes_(std::move(lanes)), launch_(std::move(launch)) {
    run(2);  // loads code, makes connections
    for (const Lane& lane : lanes_) check(cudaStreamSynchronize(lane.stream()), "cudaStreamSynchronize");
    double rough = alone(4);
    for (int i = 0; i < 3; ++i) rough = alone(items_in(rough));
    std::vector<double> took;
    for (int i = 0; i < 5; ++i) took.push_back(alone(items_in(rough)));
    alone_ = median(took);
  }
  void begin(const Gate& gate) {
    for (Lane& lane : lanes_) lane.begin(gate);
  }
  void run(int count) {
    for (int i = 0; i < count; ++i) {
      launch_(turn_++);
      for (Lane& lane : lanes_) lane.note();
    }
  }
  int items() const { return items_in(alone_); }
  double alone() const { return alone_; }  ///< seconds of one when nothing else runs
  const std::vector<Lane>& lanes() const { return lanes_; }

 private:
  static int items_in(double seconds) {
    constexpr double span = 8e-3;  // seconds of a sample
    return std::clamp(static_cast<int>(std::ceil(span / seconds)), 4, most_items);
  }
  double alone(int count) {
    check_interrupt();
    const Gate gate;
    gate.close();
    begin(gate);
    run(count);
    gate.open();
    double sum = 0;
    for (const Lane& lane : lanes_) {
      const std::vector<double> ends = lane.ends(lane);
      sum += (ends.back() - ends[1]) / static_cast<double>(ends.size() - 2);
    }
    return sum / static_cast<double>(lanes_.size());
  }

  std::vector<Lane> lanes_;
  std::function<void(int)> launch_;
  int turn_ = 0;
  double alone_ = 0;
};

Runner runner_of(const std::vector<Bench*>& benches, const Shape& shape, std::string& method) {
  std::vector<Prepared> ways;
  std::vector<Lane> lanes;
  for (Bench* bench : benches) {
    check(cudaSetDevice(bench->facts().index), "cudaSetDevice");
    ways.push_back(bench->prepared(shape));
    lanes.emplace_back(bench->facts().index, bench->stream());
  }
  method = ways.front().method;
  return {std::move(lanes), [benches, ways](int turn) {
            for (std::size_t d = 0; d < benches.size(); ++d) {
              check(cudaSetDevice(benches[d]->facts().index), "cudaSetDevice");
              ways[d].call(turn);
            }
          }};
}

Runner runner_of(const Team& team, const Collectives& collectives, const std::string& name,
                 std::size_t bytes) {
  std::vector<Lane> lanes;
  for (const Rank& rank : team.own()) lanes.emplace_back(rank.device, rank.stream);
  return {std::move(lanes), [&collectives, name, bytes](int) { collectives.run(name, bytes); }};
}

std::optional<Pace> together(Runner& calls, Runner& rounds, const Gate& gate) {
  check_interrupt();
  gate.close();
  calls.begin(gate), rounds.begin(gate);
  calls.run(calls.items()), rounds.run(rounds.items());
  gate.open();
  Pace mean;
  const auto devices = static_cast<double>(calls.lanes().size());
  for (std::size_t d = 0; d < calls.lanes().size(); ++d) {
    const Lane& origin = calls.lanes()[d];
    const std::optional<Pace> pace = pace_of(origin.ends(origin), rounds.lanes()[d].ends(origin));
    if (!pace) return std::nullopt;
    mean.call += pace->call / devices, mean.round += pace->round / devices;
  }
  return mean;
}

/// What the two take together and alone; nothing where too few samples had both running for a while.
std::optional<Beside> race(Runner& calls, Runner& rounds, const Clocks& clocks, bool quick) {
  const Gate gate;
  std::vector<double> call, round;
  const int samples = quick ? 3 : 5, warm = 2;
  for (int i = 0; i < warm + samples; ++i) {
    const std::optional<Pace> pace = together(calls, rounds, gate);
    if (i >= warm && pace) call.push_back(pace->call), round.push_back(pace->round);
  }
  if (call.size() < 2) return std::nullopt;
  const double centre = median(call);
  return Beside{.timing = {centre, deviation(call, centre) / centre, clocks.multiprocessor_mhz(),
                           static_cast<int>(call.size())},
                .alone_seconds = calls.alone(),
                .round_seconds = median(round),
                .alone_round_seconds = rounds.alone()};
}

/// A collective with a number of blocks, at a size.
struct Asked {
  int blocks;
  bool urgent;
  std::size_t bytes;
};

std::vector<Asked> asked(bool quick) {
  if (quick) return {{16, true, 64 * mebibyte}, {0, false, 64 * mebibyte}};
  std::vector<Asked> all;
  for (const int blocks : {4, 8, 16, 24, 32, 48, 0}) all.push_back({blocks, true, 64 * mebibyte});
  all.push_back({0, false, 64 * mebibyte});
  all.push_back({0, true, 256 * mebibyte});
  all.push_back({0, false, 256 * mebibyte});
  return all;
}

/// What all GPUs of this process have for it.
struct Machine {
  std::vector<std::unique_ptr<Bench>> benches;
  std::vector<std::unique_ptr<Holder>> holders;
  std::vector<Buffer> targets;  ///< where the holder of the device before writes
  std::vector<Bench*> all_benches;
  std::vector<Holder*> all_holders;

  Machine(const Team& team, bool maps) {
    for (const Rank& rank : team.own()) {
      check(cudaSetDevice(rank.device), "cudaSetDevice");
      benches.push_back(std::make_unique<Bench>(facts_of(rank.device), Patience{}, true));
      all_benches.push_back(benches.back().get());
      if (maps) targets.emplace_back(Holder::most_bytes());
    }
    for (std::size_t i = 0; maps && i < benches.size(); ++i) {
      check(cudaSetDevice(team.own()[i].device), "cudaSetDevice");
      holders.push_back(std::make_unique<Holder>(targets[(i + 1) % targets.size()].get()));
      all_holders.push_back(holders.back().get());
    }
  }
};

void measure_beside_nccl(const Machine& machine, const Team& team, const Asked& how, bool quick,
                         Progress& progress, std::vector<Beside>& found) {
  const Collectives collectives(team, how.blocks);
  std::vector<Runner> rounds;
  constexpr const char* names[] = {"all_gather", "reduce_scatter", "all_to_all"};
  for (const char* name : names) rounds.push_back(runner_of(team, collectives, name, how.bytes));
  for (const Shape& shape : contention_shapes(quick)) {
    try {
      std::string method;
      Runner calls = runner_of(machine.all_benches, shape, method);
      for (std::size_t i = 0; i < rounds.size(); ++i) {
        std::optional<Beside> one = race(calls, rounds[i], machine.all_benches.front()->clocks(), quick);
        if (!one) continue;
        one->shape = shape, one->method = method;
        one->communication = names[i], one->communication_sms = how.blocks;
        one->urgent = how.urgent, one->bytes = how.bytes;
        found.push_back(*one);
      }
    } catch (const NotOffered&) {
    }  // said by those beside own kernels
    progress.step();
  }
}

void measure_beside_peers(const Machine& machine, bool quick, std::vector<Beside>& found,
                          std::vector<std::string>& notes) {
  const std::vector<Shape> shapes = contention_shapes(quick);
  Progress progress(shapes.size());
  progress.section("contention with own writes");
  for (const Shape& shape : shapes) {
    try {
      for (const Beside& one : measure_beside_peers(machine.all_benches, machine.all_holders, shape, quick))
        found.push_back(one);
    } catch (const NotOffered& error) {
      notes.push_back("contention is left out, " + std::string(error.what()) + ": " + keys_of(shape));
    }
    progress.step();
  }
  progress.finish();
}

}  // namespace

std::vector<Beside> measure_contention_between(const Processes& processes, bool quick,
                                               std::vector<std::string>& notes) {
  std::vector<Beside> found;
  int devices = 0;
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  if (devices < 2 || processes.count() > 1) {
    notes.push_back("contention with what goes between GPUs: not measured, it needs two GPUs in one process");
    return found;
  }
  const Team urgent(processes, 256 * mebibyte, true), usual(processes, 256 * mebibyte);
  const bool maps = map_all(urgent);
  const Machine machine(urgent, maps);
  if (!maps) notes.push_back("contention with own writes: not measured, GPUs cannot map each other's memory");
  if (maps) measure_beside_peers(machine, quick, found, notes);
  if (nccl_version() > 0) {
    const std::vector<Asked> ways = asked(quick);
    Progress progress(ways.size() * contention_shapes(quick).size());
    progress.section("contention with NCCL");
    for (const Asked& how : ways)
      measure_beside_nccl(machine, how.urgent ? urgent : usual, how, quick, progress, found);
    progress.finish();
  } else {
    notes.push_back("contention with collectives of NCCL: not measured, built without it");
  }
  return found;
}

}  // namespace measure
