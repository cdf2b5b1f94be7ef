#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <numeric>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/cost/cost.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

const Cost& roofline() {
  static const std::unique_ptr<const Cost> cost = [] {
    const Value document = parse_json(R"({"kind": "roofline"})", "test");
    Reader reader(document, "cost");
    return make_member(reader, costs(), "cost model");
  }();
  return *cost;
}

Device device(const std::string& file = "h200.json") { return testing::device(file); }

/// Numbers with which every time is done by hand: 10 multiprocessors of 1 TFLOPS, one tile, no overhead.
Device plain() {
  Device made;
  made.name = "plain";
  made.multiprocessors = 10;
  made.memory_bandwidth = 1000_GBps;
  made.cache_bandwidth = 4000_GBps;
  GemmBehaviour& gemm = made.gemm[static_cast<std::size_t>(Precision::bf16)];
  gemm.peak = 10_TFLOPS;
  gemm.feed = 1000_GBps;
  gemm.tiles = {{.rows = 128, .columns = 128}};
  made.attention_forward.score_rate = made.attention_backward.score_rate = 1e18;
  return made;
}

Op op_of(OpKind kind, std::int64_t m = 0, std::int64_t n = 0, std::int64_t k = 0) {
  Op op;
  op.kind = kind;
  op.m = m;
  op.n = n;
  op.k = k;
  return op;
}

Op gemm(std::int64_t m, std::int64_t n, std::int64_t k) {
  Op op = op_of(OpKind::gemm, m, n, k);
  op.flops = {2.0 * static_cast<double>(m * n) * static_cast<double>(k)};
  op.bytes = {2 * (m * k + n * k + m * n)};
  return op;
}

Op grouped(std::vector<std::int64_t> rows, std::int64_t n, std::int64_t k, bool over_rows = false) {
  const std::int64_t total = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  const std::int64_t busy = std::count_if(rows.begin(), rows.end(), [](std::int64_t row) { return row > 0; });
  Op op = op_of(OpKind::grouped_gemm, 0, n, k);
  op.rows = std::move(rows);
  op.rows_are_depth = over_rows;
  op.flops = {2.0 * static_cast<double>(total) * static_cast<double>(n * k)};
  op.bytes = {2 * (total * (n + k) + busy * n * k)};
  return op;
}

Op attention(std::int64_t batch, std::int64_t heads, std::int64_t sequence, OpPass pass = OpPass::forward) {
  Op op = op_of(OpKind::attention);
  op.pass = pass;
  op.batch = batch;
  op.heads = op.kv_heads = heads;
  op.sequence = op.kv_sequence = sequence;
  op.head_dim = op.value_head_dim = 128;
  op.flops = {static_cast<double>(batch * heads) * static_cast<double>(sequence * sequence) * 256};
  op.bytes = {8 * batch * heads * sequence * 128};
  return op;
}

Time time(const Op& op, const Device& on, std::int64_t sms = 0) { return roofline().time(op, on, sms).time; }

}  // namespace

TEST_CASE("A product is waves of tiles: one row more than ten tiles hold costs a second wave") {
  // A tile of 128 x 128 over 1,000 takes 2 * 128 * 128 * 1000 / 1 TFLOPS = 32.768 us.
  CHECK(time(gemm(1280, 128, 1000), plain()) == 32'768_ns);
  CHECK(time(gemm(1281, 128, 1000), plain()) == 2 * Time{32'768'000});
  CHECK(time(gemm(1, 128, 1000), plain()) == 32'768_ns);
}

TEST_CASE("With multiprocessors held by communication the same tiles need more waves") {
  CHECK(time(gemm(1280, 128, 1000), plain(), 1) == 2 * Time{32'768'000});
  CHECK(time(gemm(1152, 128, 1000), plain(), 1) == 32'768_ns);
  CHECK(time(gemm(1280, 128, 1000), plain(), 5) == 2 * Time{32'768'000});
}

TEST_CASE("Interference lengthens the waves of its class and not their traffic") {
  Device held = plain();
  at(held.contention.own, Beside::products) = {{1, 1.5}};
  CHECK(time(gemm(1152, 128, 1000), held, 1) == scaled(32'768_ns, 1.5));
  Op copy = op_of(OpKind::copy);
  copy.bytes = {1'000'000};
  CHECK(time(copy, held, 1) == time(copy, held, 0));
}

TEST_CASE("Each class of kernels is slowed by its own curve alone") {
  const Device free = plain();
  Op copy = op_of(OpKind::copy);
  copy.bytes = {1'000'000};
  const std::array<Op, beside_count> ops{gemm(1152, 128, 1000), grouped({640, 512}, 128, 1000),
                                         attention(1, 4, 512), copy};
  for (std::size_t slowed = 0; slowed < beside_count; ++slowed) {
    Device held = free;
    held.contention.own[slowed] = {{1, 1.5}};
    for (std::size_t i = 0; i < beside_count; ++i) {
      CAPTURE(beside_names[slowed], beside_names[i]);
      CHECK((time(ops[i], held, 1) > time(ops[i], free, 1)) == (i == slowed));
      CHECK(time(ops[i], held, 0) == time(ops[i], free, 0));
    }
  }
}

TEST_CASE("The power limit holds a product at its own rate, however few multiprocessors do the work") {
  Device limited = plain();
  limited.gemm[static_cast<std::size_t>(Precision::bf16)].sustained = 0.5;
  CHECK(time(gemm(1280, 128, 1000), limited) == 2 * Time{32'768'000});
  CHECK(time(gemm(1280, 128, 1000), limited, 5) == 2 * Time{32'768'000});
}

TEST_CASE("One row more than fills an H800 with tiles costs far more than its share") {
  const Device h800 = device("h800.json");
  Op full = gemm(11 * 128, 12 * 128, 7168);  // 132 tiles of 128 x 128: one wave
  Op more = gemm(11 * 128 + 1, 12 * 128, 7168);
  full.precision = more.precision = Precision::fp8;
  CHECK(time(more, h800) / time(full, h800) > 1.15);
}

TEST_CASE("More rows are never faster, and more multiprocessors never slower") {
  const Device h200 = device();
  for (const std::int64_t n : {256, 1536, 7168, 24576}) {
    Time before{};
    for (std::int64_t m = 1; m < 5000; m += 1 + m / 7) {
      const Time now = time(gemm(m, n, 2048), h200);
      INFO(m << " x " << n);
      CHECK(now >= before);
      before = now;
    }
    for (std::int64_t held = 1; held < 60; ++held) {
      CHECK(time(gemm(1024, n, 2048), h200, held) >=
            time(gemm(1024, n, 2048), h200, held == 1 ? 0 : held - 1));
    }
  }
}

TEST_CASE("Twice the rates never take longer, and twice all rates without overheads take half the time") {
  Device slow = plain();
  Device fast = plain();
  fast.memory_bandwidth = 2 * slow.memory_bandwidth;
  fast.cache_bandwidth = 2 * slow.cache_bandwidth;
  GemmBehaviour& faster = fast.gemm[static_cast<std::size_t>(Precision::bf16)];
  faster.peak = 2 * faster.peak;
  faster.feed = 2 * faster.feed;
  for (const Op& op : {gemm(1000, 3000, 500), gemm(1, 3000, 5000), grouped({100, 0, 3000}, 512, 700),
                       grouped({100, 0, 3000}, 512, 700, true), attention(1, 3, 1000)}) {
    CHECK(std::abs(2 * time(op, fast).count - time(op, slow).count) <= 2);
  }
}

TEST_CASE("An op that does nothing takes no time") {
  const Device h200 = device();
  CHECK(time(gemm(0, 4096, 4096), h200) == 0_ps);
  CHECK(time(grouped({0, 0}, 4096, 4096), h200) == 0_ps);
  CHECK(time(grouped({0, 0}, 4096, 4096, true), h200) == 0_ps);
  CHECK(time(attention(0, 8, 128), h200) == 0_ps);
  CHECK(time(op_of(OpKind::copy), h200) == 0_ps);
}

TEST_CASE("Experts without rows cost nothing, and one expert is a plain product without a split depth") {
  Device h200 = device();
  CHECK(time(grouped({100, 200}, 4096, 4096), h200) == time(grouped({100, 0, 200, 0}, 4096, 4096), h200));
  CHECK(time(grouped({100, 200}, 4096, 4096, true), h200) ==
        time(grouped({0, 100, 200}, 4096, 4096, true), h200));
  h200.gemm[static_cast<std::size_t>(Precision::bf16)].may_split = false;
  CHECK(time(grouped({777}, 4096, 4096), h200) == time(gemm(777, 4096, 4096), h200));
}

TEST_CASE("Uneven experts take at least as long as even ones: each pads its last tile") {
  CHECK(time(grouped({64, 64, 64, 64}, 1280, 1000), plain()) ==
        time(grouped({128, 128, 128, 128}, 1280, 1000), plain()));
  CHECK(time(grouped({129, 127}, 640, 1000), plain()) > time(grouped({128, 128}, 640, 1000), plain()));
}

TEST_CASE("A weight gradient of experts has its rows as depth") {
  // 2 experts x 1 tile each of 128 x 128, one over 1,000 and one over 3,000 rows: the longer one is all there
  // is.
  CHECK(time(grouped({1000, 3000}, 128, 128, true), plain()) == 3 * Time{32'768'000});
  // Equal depths: 20 tiles are two waves.
  CHECK(time(grouped({1000, 1000}, 1280, 128, true), plain()) == 2 * Time{32'768'000});
}

TEST_CASE("Causal attention of a long sequence takes about half of the whole") {
  const Device h200 = device();
  Op whole = attention(1, 32, 16384);
  whole.causal = false;
  CHECK(time(attention(1, 32, 16384), h200) / time(whole, h200) == Approx(0.5).margin(0.02));
  Op window = attention(1, 32, 16384);
  window.window = 1024;
  CHECK(time(window, h200) / time(attention(1, 32, 16384), h200) < 0.25);
}

TEST_CASE("One head cannot use more multiprocessors than it has tiles of queries") {
  // 8 tiles of 128 queries; the last sees 1,024 keys: 4 * 128 * 128 * 1024 / 1 TFLOPS.
  CHECK(time(attention(1, 1, 1024), plain()) == from_seconds(4.0 * 128 * 128 * 1024 / 1e12));
  CHECK(time(attention(1, 1, 1024, OpPass::backward_input), plain()) ==
        from_seconds(10.0 * 128 * 128 * 1024 / 1e12));
}

TEST_CASE("What streams takes launch, floor and bytes over the bandwidth, the first at half speed") {
  Device streaming = plain();
  streaming.launch_overhead = 1_us;
  streaming.kernel_floor = 1_us;
  streaming.memory_ramp = 2_us;
  Op op = op_of(OpKind::rms_norm);
  op.bytes = {1'000'000};  // 1 us
  CHECK(time(op, streaming) == 4_us);
  op.bytes = {10'000'000};
  CHECK(time(op, streaming) == 14_us);
  op.kernels = 2;
  CHECK(time(op, streaming) == 18_us);
}

TEST_CASE("What limits an op is named") {
  const Device h200 = device();
  CHECK(roofline().time(gemm(8192, 8192, 8192), h200, 0).bound == Bound::compute);
  CHECK(roofline().time(gemm(1, 57344, 8192), h200, 0).bound == Bound::memory);
  CHECK(roofline().time(gemm(1, 64, 64), h200, 0).bound == Bound::launch);
}

TEST_CASE("A precision that the device lacks is an error, not a time") {
  Op op = gemm(128, 128, 128);
  op.precision = Precision::fp8;
  CHECK_THROWS_WITH(time(op, device("a100.json")),
                    "A100: has no matrix products in fp8, its file gives none under gemm.fp8");
}
