#include "contention.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "grid.hpp"
#include "hold.hpp"
#include "progress.hpp"
#include "statistics.hpp"

namespace measure {
namespace {

/// How long is measured: a sample, and all of them after warming up.
struct Spans {
  double sample = 4e-3, warm = 30e-3;
  int samples = 5;
};
Spans spans_of(bool quick) { return quick ? Spans{2e-3, 10e-3, 3} : Spans{}; }

/// A device that computes, and its kernel that communicates.
struct Side {
  Bench* bench;
  Holder* holder;
  Prepared way;
};

/// Computations of all sides at once, each beside its holder.
class HeldSamples {
 public:
  HeldSamples(std::vector<Side> sides, const Spans& spans) : sides_(std::move(sides)), spans_(spans) {
    for (const Side& side : sides_) {
      use(side);
      check(cudaEventCreate(&side_events_.emplace_back().first), "cudaEventCreate");
      check(cudaEventCreate(&side_events_.back().second), "cudaEventCreate");
      for (int i = 0; i < 2; ++i) side.way.call(calls_++);  // loads code
      check(cudaStreamSynchronize(side.bench->stream()), "cudaStreamSynchronize");
    }
    count_ = 1;
    count_ = std::clamp(static_cast<int>(spans_.sample / sample(0).seconds), 1, 64);
  }
  ~HeldSamples() {
    for (const auto& [begin, end] : side_events_) {
      static_cast<void>(cudaEventDestroy(begin));
      static_cast<void>(cudaEventDestroy(end));
    }
  }
  HeldSamples(const HeldSamples&) = delete;
  HeldSamples& operator=(const HeldSamples&) = delete;

  struct Found {
    double seconds = 0, rate = 0;  ///< of a call, the mean of all sides; of a holder
  };
  /// The median of several samples while `held` multiprocessors communicate.
  Found median(int held, Timing& timing) {
    const auto start = Clock::now();
    while (since(start) < spans_.warm) sample(held);
    std::vector<double> seconds, rates;
    for (int i = 0; i < spans_.samples; ++i) {
      const Found found = sample(held);
      seconds.push_back(found.seconds), rates.push_back(found.rate);
    }
    const Found found{measure::median(seconds), measure::median(rates)};
    timing = {found.seconds, deviation(seconds, found.seconds) / found.seconds,
              sides_.front().bench->clocks().multiprocessor_mhz(), spans_.samples};
    return found;
  }
  /// Of a holder while nothing computes.
  double rate_alone(int held) {
    begin(held);
    for (const Side& side : sides_) use(side), idle(spans_.sample, side.bench->stream());
    return end(held).rate;
  }

 private:
  static void use(const Side& side) { check(cudaSetDevice(side.bench->facts().index), "cudaSetDevice"); }
  void begin(int held) {
    check_interrupt();
    for (const Side& side : sides_) use(side), side.holder->start(held, side.bench->stream());
    for (const Side& side : sides_) check(cudaStreamSynchronize(side.bench->stream()), "wait for holders");
    gate_.close();
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      use(sides_[i]);
      const cudaStream_t stream = sides_[i].bench->stream();
      gate_.hold(stream);
      if (held > 0) sides_[i].holder->mark(0, stream);
      check(cudaEventRecord(side_events_[i].first, stream), "cudaEventRecord");
    }
  }
  Found end(int held) {
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      use(sides_[i]);
      const cudaStream_t stream = sides_[i].bench->stream();
      check(cudaEventRecord(side_events_[i].second, stream), "cudaEventRecord");
      if (held > 0) sides_[i].holder->mark(1, stream);
    }
    gate_.open();
    for (const Side& side : sides_) check(cudaStreamSynchronize(side.bench->stream()), "computations");
    for (const Side& side : sides_)
      if (held > 0) use(side), side.holder->stop(side.bench->stream());
    Found found;
    for (std::size_t i = 0; i < sides_.size(); ++i) {
      use(sides_[i]);
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, side_events_[i].first, side_events_[i].second),
            "cudaEventElapsedTime");
      const auto share = 1 / static_cast<double>(sides_.size());
      found.seconds += share * 1e-3 * milliseconds / count_;
      if (held > 0) found.rate += share * sides_[i].holder->rate();
    }
    return found;
  }
  Found sample(int held) {
    begin(held);
    for (int i = 0; i < count_; ++i, ++calls_)
      for (const Side& side : sides_) use(side), side.way.call(calls_);
    return end(held);
  }

  std::vector<Side> sides_;
  Spans spans_;
  std::vector<std::pair<cudaEvent_t, cudaEvent_t>> side_events_;
  Gate gate_;
  int count_ = 1, calls_ = 0;
};

/// All counts of multiprocessors, and the computation alone before and after: the mean of the two.
void measure_held(HeldSamples& samples, const std::vector<int>& counts, const Beside& like,
                  std::vector<Beside>& found) {
  Timing timing;
  const double before = samples.median(0, timing).seconds;
  const std::size_t first = found.size();
  for (const int held : counts) {
    Beside one = like;
    one.communication_sms = held;
    one.rate = samples.median(held, one.timing).rate;
    one.alone_rate = samples.rate_alone(held);
    found.push_back(one);
  }
  const double after = samples.median(0, timing).seconds;
  for (std::size_t i = first; i < found.size(); ++i) found[i].alone_seconds = (before + after) / 2;
}

}  // namespace

std::vector<Beside> measure_contention(Bench& bench, bool quick) {
  std::vector<Beside> found;
  Holder holder;
  const std::vector<Shape> shapes = contention_shapes(quick);
  Progress progress(shapes.size());
  progress.section("contention");
  for (const Shape& shape : shapes) {
    try {
      const Prepared way = bench.prepared(shape);
      HeldSamples samples({{&bench, &holder, way}}, spans_of(quick));
      measure_held(samples, contention_counts(quick),
                   {.shape = shape, .method = way.method, .communication = "memory"}, found);
    } catch (const OutOfMemory&) {
      bench.note("contention is left out, device memory is too small: " + keys_of(shape));
    } catch (const NotOffered& error) {
      bench.note("contention is left out, " + std::string(error.what()) + ": " + keys_of(shape));
    }
    progress.step();
  }
  progress.finish();
  return found;
}

std::vector<Beside> measure_beside_peers(const std::vector<Bench*>& benches,
                                         const std::vector<Holder*>& holders, const Shape& shape,
                                         bool quick) {
  std::vector<Beside> found;
  std::vector<Side> sides;
  for (std::size_t i = 0; i < benches.size(); ++i) {
    check(cudaSetDevice(benches[i]->facts().index), "cudaSetDevice");
    sides.push_back({benches[i], holders[i], benches[i]->prepared(shape)});
  }
  const Beside like{.shape = shape, .method = sides.front().way.method, .communication = "peer"};
  HeldSamples samples(std::move(sides), spans_of(quick));
  measure_held(samples, contention_counts(quick), like, found);
  return found;
}

}  // namespace measure
