// Clocks of device and host against the queue that they stand for: every launch in turn.
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "models/base/random.hpp"
#include "sim/work/host_path.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

/// A launch of one kernel, and whether the host then waits for it.
struct Launch {
  Time host, kernel;
  bool waits = false;
};

constexpr Time wait = 7_ns;

struct Clocks {
  Time device, host;
  friend bool operator==(const Clocks&, const Clocks&) = default;
};

/// A kernel starts when it has been launched and the one before it has ended.
Clocks played(Clocks at, const std::vector<Launch>& launches) {
  for (const Launch& launch : launches) {
    at.host += launch.host;
    at.device = std::max(at.device, at.host) + launch.kernel;
    if (launch.waits) at.host = std::max(at.host, at.device) + wait;
  }
  return at;
}

HostPath path_of(const std::vector<Launch>& launches) {
  HostPath path;
  for (const Launch& launch : launches) {
    path += HostPath::of_launches(1, launch.host, launch.kernel);
    if (launch.waits) path += HostPath::of_wait(wait);
  }
  return path;
}

Clocks after(const Clocks& at, const HostPath& path) {
  Clocks next{at.device + path.device, at.host + path.issue};
  if (path.lag >= Time{}) next.device = std::max(next.device, at.host + path.lag);
  if (path.drains()) next.host = std::max(next.host, at.device + path.drain);
  return next;
}

std::vector<Launch> drawn(RandomStream& random, std::int64_t most_waits) {
  std::vector<Launch> launches(random.below(9));
  for (Launch& launch : launches) {
    launch.host = Time{static_cast<std::int64_t>(random.below(50'000))};
    launch.kernel = Time{static_cast<std::int64_t>(random.below(50'000))};
    launch.waits = static_cast<std::int64_t>(random.below(4)) < most_waits;
  }
  return launches;
}

}  // namespace

TEST_CASE("A path brings both clocks where the queue of its launches brings them") {
  for (const std::int64_t waits : {0, 1, 3}) {
    for (std::uint64_t number = 0; number < 300; ++number) {
      RandomStream random = Random(5).stream("paths", number);
      const std::vector<Launch> launches = drawn(random, waits);
      const HostPath path = path_of(launches);
      const Clocks at{Time{static_cast<std::int64_t>(random.below(200'000))},
                      Time{static_cast<std::int64_t>(random.below(200'000))}};
      INFO(number << ", " << launches.size() << " launches");
      CHECK(after(at, path) == played(at, launches));
    }
  }
}

TEST_CASE("Launches alike are one after the other in closed form") {
  for (const Time kernel : {3_ns, 10_ns, 40_ns}) {
    const std::vector<Launch> launches(5, {10_ns, kernel});
    CHECK(HostPath::of_launches(5, 10_ns, kernel * 5) == path_of(launches));
  }
}

TEST_CASE("Two runs behind each other are the run of both") {
  for (std::uint64_t number = 0; number < 100; ++number) {
    RandomStream random = Random(6).stream("runs", number);
    std::vector<Launch> first = drawn(random, 1);
    const std::vector<Launch> second = drawn(random, 1);
    HostPath both = path_of(first);
    both += path_of(second);
    first.insert(first.end(), second.begin(), second.end());
    CHECK(both == path_of(first));
  }
}

TEST_CASE("A long row of runs takes the mean of the longest cycle each") {
  for (std::uint64_t number = 0; number < 100; ++number) {
    RandomStream random = Random(7).stream("rows", number);
    const HostPath one = path_of(drawn(random, 2));
    Clocks at;
    constexpr std::int64_t rows = 2000;
    for (std::int64_t row = 0; row < rows; ++row) at = after(at, one);
    const double mean = to_seconds(std::max(at.device, at.host)) / rows;
    CHECK(mean == Approx(to_seconds(one.cycle())).epsilon(0.01).margin(1e-12));
  }
}
