#include "power.hpp"

#include <algorithm>
#include <chrono>
#include <deque>
#include <thread>

#include "progress.hpp"
#include "statistics.hpp"

namespace measure {
namespace {

/// Two events around the calls of one part.
struct Span {
  Span() {
    check(cudaEventCreate(&start), "cudaEventCreate");
    check(cudaEventCreate(&stop), "cudaEventCreate");
  }
  ~Span() {
    static_cast<void>(cudaEventDestroy(start));
    static_cast<void>(cudaEventDestroy(stop));
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;
  double seconds() const {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start, stop), "cudaEventElapsedTime");
    return milliseconds * 1e-3;
  }
  cudaEvent_t start{}, stop{};
};

/// The driver's count of energy, which it takes every tenth of a second, at the moment when it changes.
struct Reading {
  double joules = 0;
  Clock::time_point at;
};

/// `meanwhile` goes on in short steps until then.
Reading at_change(const Clocks& clocks, const std::function<void()>& meanwhile) {
  const double before = clocks.joules();
  while (true) {
    meanwhile();
    const double now = clocks.joules();
    if (now != before) return {now, Clock::now()};
  }
}

void rest(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

double mean_watts(const Reading& first, const Reading& last) {
  return (last.joules - first.joules) / std::chrono::duration<double>(last.at - first.at).count();
}

/// Plays a mix without a gap, a few rounds ahead of the device.
class Player {
 public:
  Player(Bench& bench, Mix& mix) : bench_(bench), mix_(mix) {
    for (const MixPart& part : mix.parts) calls_.push_back(bench.prepared(part.shape).call);
    double seconds = 0;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      rest(0.2);
      mix_.parts[i].alone_seconds = bench.sampler().glance(calls_[i]);
      seconds += mix_.parts[i].calls * mix_.parts[i].alone_seconds;
    }
    mix_.pause_seconds = seconds * mix.pause_share / (1 - mix.pause_share);
    rounds_ = std::max(1, static_cast<int>(0.01 / (seconds + mix_.pause_seconds)));
  }

  void play(double warm_seconds, double least_seconds) {
    const auto begin = Clock::now();
    while (since(begin) < warm_seconds) batch(false);
    const Reading first = at_change(bench_.clocks(), [&] { batch(false); });
    bench_.sampler().stamp(0);
    while (since(first.at) < least_seconds) batch(true);
    const Reading last = at_change(bench_.clocks(), [&] { batch(true); });
    bench_.sampler().stamp(1);
    check(cudaStreamSynchronize(bench_.stream()), "cudaStreamSynchronize");
    mix_.watts = mean_watts(first, last);
    mix_.clock_mhz = bench_.sampler().stamped_mhz();
    for (std::size_t i = 0; i < calls_.size(); ++i) set_seconds(i);
  }

 private:
  /// A few rounds; the last is timed. Waits until the device is no more than two batches behind.
  void batch(bool timed) {
    check_interrupt();
    for (int round = 0; round < rounds_; ++round) {
      const bool is_timed = timed && round + 1 == rounds_;
      for (std::size_t part = 0; part < calls_.size(); ++part) {
        if (is_timed) check(cudaEventRecord(spans_.emplace_back().start, bench_.stream()), "cudaEventRecord");
        for (int i = 0; i < mix_.parts[part].calls; ++i) calls_[part](count_++);
        if (is_timed) check(cudaEventRecord(spans_.back().stop, bench_.stream()), "cudaEventRecord");
      }
      if (mix_.pause_seconds > 0) bench_.sampler().pause(mix_.pause_seconds);
    }
    check(cudaEventRecord(behind_.emplace_back().stop, bench_.stream()), "cudaEventRecord");
    if (behind_.size() < 3) return;
    check(cudaEventSynchronize(behind_.front().stop), "cudaEventSynchronize");
    behind_.pop_front();
  }

  /// The mean: the clock moves to and fro.
  void set_seconds(std::size_t part) {
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t i = part; i < spans_.size(); i += calls_.size(), ++count) sum += spans_[i].seconds();
    mix_.parts[part].seconds =
        sum / static_cast<double>(std::max<std::size_t>(1, count)) / mix_.parts[part].calls;
  }

  Bench& bench_;
  Mix& mix_;
  std::vector<std::function<void(int)>> calls_;
  std::deque<Span> spans_, behind_;
  int rounds_ = 1, count_ = 0;
};

double idle_watts(Bench& bench) {
  check(cudaStreamSynchronize(bench.stream()), "cudaStreamSynchronize");
  rest(1.5);
  const Reading first = at_change(bench.clocks(), [] { rest(0.002); });
  rest(0.7);
  return mean_watts(first, at_change(bench.clocks(), [] { rest(0.002); }));
}

/// Until a product takes 8 % longer than it began.
double response_seconds(Bench& bench, const Shape& shape) {
  constexpr double slower = 1.08;
  const std::function<void(int)> call = bench.prepared(shape).call;
  std::vector<double> found;
  for (int round = 0; round < 5; ++round) {
    check(cudaStreamSynchronize(bench.stream()), "cudaStreamSynchronize");
    rest(0.7);
    std::deque<Span> spans;
    for (int i = 0; i < 250; ++i) {
      check(cudaEventRecord(spans.emplace_back().start, bench.stream()), "cudaEventRecord");
      call(i);
      check(cudaEventRecord(spans.back().stop, bench.stream()), "cudaEventRecord");
    }
    check(cudaStreamSynchronize(bench.stream()), "cudaStreamSynchronize");
    double sum = 0, fastest = 1e30;
    for (const Span& span : spans) {
      fastest = std::min(fastest, span.seconds());
      if (span.seconds() > slower * fastest && &span != &spans.front()) break;
      sum += span.seconds();
    }
    found.push_back(sum);
  }
  return median(found);
}

Shape product(Int m, Int n, Int k, const char* precision = "bf16") {
  return {.op = "gemm", .precision = precision, .m = m, .n = n, .k = k};
}

Shape attention(Int sequence, Int head_dim, const char* pass) {
  return {.op = "attention",
          .pass = pass,
          .batch = 16384 / sequence,
          .heads = 32,
          .kv_heads = 8,
          .sequence = sequence,
          .head_dim = head_dim,
          .value_head_dim = head_dim};
}

Shape rows(const char* op, Int count, Int width) {
  Shape shape{.op = op};
  shape.row_count = count, shape.width = width;
  return shape;
}

}  // namespace

std::vector<Mix> power_mixes() {
  const Shape large = product(8192, 8192, 8192), middle = product(8192, 4096, 4096),
              wide = product(8192, 28672, 4096);
  const Shape copy{.op = "copy", .bytes = Int{1} << 29};
  const Shape norm = rows("rms_norm", 16384, 4096), activation = rows("swiglu", 16384, 14336);
  const Shape grouped{.op = "grouped_gemm", .n = 4096, .k = 4096, .rows = std::vector<Int>(8, 2048)};
  const Shape forward = attention(4096, 128, "forward"), backward = attention(4096, 128, "backward");
  std::vector<Mix> mixes;
  for (const Shape& alone :
       {large, middle, wide, product(4096, 4096, 4096), product(8192, 8192, 1024), product(2048, 4096, 4096),
        product(512, 8192, 8192), product(8192, 8192, 8192, "fp8"), product(8192, 4096, 4096, "fp8"), grouped,
        forward, backward, attention(16384, 128, "forward"), attention(16384, 128, "backward"),
        attention(4096, 64, "forward"), copy, norm, activation})
    mixes.push_back({.parts = {{alone, 1}}});
  for (const auto& [products, copies] :
       std::vector<std::pair<int, int>>{{8, 1}, {4, 1}, {2, 1}, {2, 2}, {1, 2}})
    mixes.push_back({.parts = {{middle, products}, {copy, copies}}});
  for (const double share : {0.1, 0.2, 0.35, 0.5})
    mixes.push_back({.parts = {{middle, 2}}, .pause_share = share});
  mixes.push_back({.parts = {{large, 1}}, .pause_share = 0.2});
  mixes.push_back({.parts = {{forward, 2}, {copy, 1}}});
  mixes.push_back({.parts = {{backward, 1}}, .pause_share = 0.15});
  mixes.push_back({.parts = {{middle, 3}, {forward, 1}, {norm, 1}}});
  mixes.push_back(
      {.parts = {{middle, 2}, {wide, 1}, {forward, 1}, {backward, 1}, {norm, 2}, {activation, 1}}});
  mixes.push_back({.parts = {{grouped, 2}, {activation, 1}, {norm, 2}}});
  mixes.push_back({.parts = {{product(8192, 4096, 4096, "fp8"), 4}, {copy, 1}}});
  return mixes;
}

PowerTimes measure_power(Bench& bench, bool quick) {
  PowerTimes times;
  if (bench.clocks().joules() <= 0) {
    bench.note("power is not measured: the driver tells no energy");
    return times;
  }
  times.limit_watts = bench.clocks().limit_watts();
  times.idle_watts = idle_watts(bench);
  std::vector<Mix> mixes = power_mixes();
  Progress progress(mixes.size());
  progress.section("power");
  for (std::size_t i = 0; i < mixes.size(); i += quick ? 3 : 1) {
    try {
      Player(bench, mixes[i]).play(quick ? 0.2 : 0.4, quick ? 0.4 : 0.9);
      times.mixes.push_back(mixes[i]);
    } catch (const OutOfMemory&) {
      bench.note("a mix is left out of power, device memory is too small");
    } catch (const NotOffered& error) {
      bench.note("a mix is left out of power: " + std::string(error.what()));
    }
    progress.step();
  }
  progress.finish();
  if (!quick) times.response_seconds = response_seconds(bench, product(8192, 8192, 8192));
  return times;
}

}  // namespace measure
