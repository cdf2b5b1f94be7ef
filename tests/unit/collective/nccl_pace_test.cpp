// How fast NCCL's rings and exchanges go on NVLink: the law, its bounds, and what was measured of it.

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/at.hpp"
#include "models/config/document.hpp"
#include "sim/collective/measured.hpp"
#include "sim/collective/nccl_pace.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

constexpr Rate nvlink{370.8e9};  // 18 links of 20.6 GB/s
const NcclGeneration& hopper = nccl_generation(Generation::hopper);

RingPace ring(Operation operation, std::int64_t ranks, double bytes) {
  const double sent = bytes * sent_share(operation, ranks);
  return ring_pace(hopper, {.operation = operation,
                            .ranks = ranks,
                            .sent = sent,
                            .seconds = sent / nvlink.count,
                            .nvlink = nvlink});
}

NcclPace exchange(std::int64_t ranks, double to_each, std::int64_t nodes = 1) {
  return exchange_pace(hopper, {.ranks = ranks,
                                .nodes = nodes,
                                .sent = to_each * static_cast<double>(ranks - 1),
                                .longest = 3330_ns,
                                .nvlink = nvlink});
}

/// Seconds of a whole buffer with its links to itself.
double seconds(Operation operation, std::int64_t ranks, double bytes) {
  const NcclPace pace = operation == Operation::all_to_all
                            ? exchange(ranks, bytes / static_cast<double>(ranks))
                            : ring(operation, ranks, bytes).pace;
  return to_seconds(pace.latency) + bytes * sent_share(operation, ranks) / nvlink.count / pace.nvlink_share;
}

}  // namespace

TEST_CASE("A ring of n receives one shard with nothing sent for each n-1 or 2(n-1) that it sends on") {
  for (const std::int64_t ranks : {2, 3, 4, 8}) {
    for (const Operation operation :
         {Operation::all_gather, Operation::reduce_scatter, Operation::all_reduce}) {
      const double bytes = 64e6, shard = bytes / static_cast<double>(ranks);
      const auto sends = static_cast<double>((operation == Operation::all_reduce ? 2 : 1) * (ranks - 1));
      const double received = shard / 620e9 * (1 - std::exp(-shard / 440e6)) / (shard / 440e6);
      const NcclPace pace = ring(operation, ranks, bytes).pace;
      CAPTURE(ranks, at(operation_names, operation));
      CHECK(sends * shard / nvlink.count / pace.nvlink_share ==
            Approx(sends * shard / nvlink.count + received));
      CHECK(pace.share == 1);
    }
  }
}

TEST_CASE("Channels that drift apart receive beside what others send, the more the larger the shard") {
  double before = 0;
  for (double bytes = 1 << 24; bytes <= 1e12; bytes *= 2) {
    const double share = ring(Operation::all_gather, 2, bytes).pace.nvlink_share;
    CHECK(share > before);
    before = share;
  }
  CHECK(before > 0.99);
}

TEST_CASE("NCCL's choice is its own prediction: LL to 2 MiB of two ranks' all-gather, and Simple beyond") {
  // 2 (6.6 - 8.4 - 2.8 us) / (1 / 360 GB/s - 1 / 141 GB/s): 2.13 MB.
  CHECK(ring(Operation::all_gather, 2, 2.131e6).pace.latency == 5200_ns + 850_ns);
  CHECK(ring(Operation::all_gather, 2, 2.134e6).pace.latency == 12_us + 3400_ns);
  CHECK(ring(Operation::all_reduce, 4, 4 << 20).pace.latency == 10800_ns + 6 * 1600_ns);  // LL128
  CHECK(ring(Operation::all_gather, 2, 1e6).predicted == Approx(7.2e-6 + 0.5e6 / 141e9));
}

TEST_CASE("An exchange polls for flags up to 16 KiB for each of 32 channels to a peer") {
  CHECK(exchange(2, 524288).latency == 3330_ns + 4_us);
  CHECK(exchange(2, 524288).nvlink_share == Approx(106e9 / nvlink.count));
  const NcclPace more = exchange(2, 524289);
  CHECK(to_seconds(more.latency) == Approx(9.03e-6 + 524289 / 16.0 / 34e9).epsilon(1e-6));
  // Two channels across nodes.
  CHECK(exchange(16, 32768, 2).share == 0.5);
  CHECK(exchange(16, 32769, 2).share == 1);
}

TEST_CASE("An exchange of two has half of the channels until parts are more than 32 chunks") {
  constexpr double most = 256 << 20;
  CHECK(exchange(2, most).nvlink_share == Approx(16 * 18.75e9 / nvlink.count));
  CHECK(exchange(2, most + 1).nvlink_share == 0.876);
  CHECK(exchange(4, 1 << 25).nvlink_share == 0.876);  // three times eight channels
  CHECK(exchange(3, 1 << 25).nvlink_share == Approx(16 * 18.75e9 / nvlink.count));
}

TEST_CASE("The last chunk of an exchange is copied with nothing sent: 512 KiB a channel at most") {
  const auto last = [](double to_each) { return to_seconds(exchange(4, to_each).latency) - 9.03e-6; };
  CHECK(last(1 << 21) == Approx((1 << 18) / 34e9).epsilon(1e-6));
  CHECK(last(1 << 22) == Approx((1 << 19) / 34e9).epsilon(1e-6));
  CHECK(last(1 << 25) == Approx((1 << 19) / 34e9).epsilon(1e-6));
}

TEST_CASE("Ampere and Blackwell, of which nothing was measured, go as NCCL predicts") {
  const RingPace ampere = ring_pace(nccl_generation(Generation::ampere), {.operation = Operation::all_gather,
                                                                          .ranks = 8,
                                                                          .sent = 1e9,
                                                                          .seconds = 1e9 / 240e9,
                                                                          .nvlink = Rate{240e9}});
  CHECK(ampere.pace.nvlink_share == 1);
  CHECK(ampere.predicted == Approx(to_seconds(ampere.pace.latency) + 1e9 / 240e9));
  CHECK(exchange_pace(nccl_generation(Generation::blackwell), {.sent = 1e9, .longest = 2_us}).latency ==
        2_us);
}

TEST_CASE("NCCL's law is within 13 % of every collective that two and four H200 were measured with") {
  const Value document =
      load_document(MOESIM_SOURCE "/configs/calibration/measurements-collectives-h200.json");
  double fitted = 0, held_out = 0;
  int fits = 0, judges = 0;
  for (const Value& line : document.find("devices")->items.front().find("collectives")->items) {
    const std::string& name = line.find("collective")->text;
    const auto* const found = std::find(std::begin(operation_names), std::end(operation_names), name);
    const auto operation = static_cast<Operation>(found - std::begin(operation_names));
    if (line.find("library")->text != "nccl" || operation == Operation::point_to_point) continue;
    const auto ranks = static_cast<std::int64_t>(line.find("ranks")->number);
    const double error =
        std::log(seconds(operation, ranks, line.find("bytes")->number) / line.find("time_s")->number);
    INFO(name << " of " << ranks << ", " << line.find("bytes")->number << " bytes");
    CHECK(std::abs(error) < 0.13);
    (line.find("held_out") != nullptr ? held_out : fitted) += error * error;
    ++(line.find("held_out") != nullptr ? judges : fits);
  }
  REQUIRE(fits == 44 + 32);
  REQUIRE(judges == 40);
  CHECK(std::sqrt(fitted / fits) < 0.05);
  CHECK(std::sqrt(held_out / judges) < 0.05);
}
