#include "models/cluster/device.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "models/base/error.hpp"

namespace moesim {
namespace {

using namespace literals;

constexpr double widest = 1.5;  // beyond the data sheet's peak by boost clock, at the very most

/// "128x256": rows by columns.
Tile read_tile(const Reader& reader, const std::string& text) {
  Tile tile;
  const char* end = text.data() + text.size();
  const auto rows = std::from_chars(text.data(), end, tile.rows);
  const bool has_rows = rows.ec == std::errc() && rows.ptr != end && *rows.ptr == 'x';
  const auto columns = std::from_chars(has_rows ? rows.ptr + 1 : end, end, tile.columns);
  if (!has_rows || columns.ec != std::errc() || columns.ptr != end || tile.rows < 1 || tile.columns < 1) {
    reader.fail("tiles", fmt::format("holds '{}', expected rows by columns as \"128x256\"", text));
  }
  return tile;
}

GemmBehaviour read_gemm(Reader& reader) {
  GemmBehaviour gemm;
  gemm.peak = reader.flop_rate({.name = "peak", .help = "dense peak of the data sheet"});
  gemm.efficiency = reader.number({.name = "efficiency",
                                   .help = "share of the peak that the main loop reaches at full clock",
                                   .at_least = 0.01,
                                   .at_most = widest});
  gemm.sustained = reader.number({.name = "sustained",
                                  .help = "share of the peak at which the power limit holds the whole chip "
                                          "(default: efficiency)",
                                  .fallback = reader.is_describing() ? 1 : gemm.efficiency,
                                  .at_least = 0.01,
                                  .at_most = widest});
  gemm.feed =
      reader.rate({.name = "feed", .help = "operands that one multiprocessor takes in from the cache"});
  gemm.kernel_overhead = reader.time({.name = "kernel_overhead",
                                      .help = "once per kernel beyond its floor",
                                      .fallback = Time{},
                                      .at_least = Time{}});
  gemm.tile_overhead = reader.time({.name = "tile_overhead",
                                    .help = "per wave of tiles: refill, epilogue",
                                    .fallback = Time{},
                                    .at_least = Time{}});
  gemm.may_split = reader.has("split_overhead");
  gemm.split_overhead =
      reader.time({.name = "split_overhead",
                   .help = "once per kernel that splits the depth; not given: kernels do not split",
                   .fallback = Time{},
                   .at_least = Time{}});
  gemm.unhidden =
      reader.number({.name = "unhidden",
                     .help = "share of the shorter of arithmetic and traffic not hidden by the longer",
                     .fallback = 0.0,
                     .at_least = 0.0,
                     .at_most = 1.0});
  for (const std::string& text :
       reader.texts({.name = "tiles", .help = "output tiles to choose from, as 128x256"})) {
    gemm.tiles.push_back(read_tile(reader, text));
  }
  if (gemm.tiles.empty() && !reader.is_describing())
    reader.fail("tiles", "is empty, expected tiles as \"128x256\"");
  reader.finish();
  return gemm;
}

AttentionBehaviour read_attention(Reader reader) {
  AttentionBehaviour attention;
  attention.efficiency =
      reader.number({.name = "efficiency",
                     .help = "share of the bf16 peak in its products, softmax counted apart",
                     .at_least = 0.01,
                     .at_most = widest});
  attention.score_rate = reader.number({.name = "giga_scores_per_second",
                                        .help = "scores that one multiprocessor takes through softmax",
                                        .at_least = 1e-3}) *
                         1e9;
  attention.tile_overhead = reader.time(
      {.name = "tile_overhead", .help = "per tile of queries", .fallback = Time{}, .at_least = Time{}});
  attention.kernel_overhead = reader.time({.name = "kernel_overhead",
                                           .help = "once per call beyond a floor",
                                           .fallback = Time{},
                                           .at_least = Time{}});
  reader.finish();
  return attention;
}

void read_memory(Reader& reader, Device& device) {
  device.memory = reader.bytes({.name = "memory",
                                .help = "capacity of device memory, as the driver reports it",
                                .at_least = Bytes{1}});
  device.driver_memory = reader.bytes({.name = "driver_memory",
                                       .help = "what the driver takes of it for a process before any tensor",
                                       .fallback = Bytes{},
                                       .at_least = Bytes{}});
  device.channel_buffer =
      reader.bytes({.name = "channel_buffer",
                    .help = "what a communicator takes of it for one channel and one neighbour, to receive "
                            "and to send",
                    .fallback = Bytes{},
                    .at_least = Bytes{},
                    .at_most = Bytes{std::int64_t{1} << 30}});
  device.memory_bandwidth = reader.rate({.name = "memory_bandwidth", .help = "data sheet"});
  device.memory_efficiency = reader.number({.name = "memory_efficiency",
                                            .help = "share of it that streaming kernels reach",
                                            .at_least = 0.01,
                                            .at_most = 1.0});
  device.memory_ramp = reader.time({.name = "memory_ramp",
                                    .help = "until the memory pipeline is full; half speed before",
                                    .fallback = Time{},
                                    .at_least = Time{}});
  device.cache =
      reader.bytes({.name = "cache",
                    .help = "last-level cache: partial sums of split products stay in it as far as they fit",
                    .at_least = Bytes{}});
  device.cache_bandwidth = reader.rate({.name = "cache_bandwidth", .help = "of the last-level cache"});
}

void read_fused_attention(Reader reader, Device& device) {
  device.attention_tile_rows =
      reader.integer({.name = "tile_rows", .help = "queries of one tile", .at_least = 1});
  device.attention_forward = read_attention(reader.part("forward", "scores, softmax, weighted values"));
  device.attention_backward = read_attention(reader.part("backward", "the five products of the gradient"));
  reader.finish();
}

/// A point of the curve that comes after `before`.
ContentionPoint read_contention_point(Reader& reader, const ContentionPoint& before,
                                      std::int64_t multiprocessors) {
  ContentionPoint point;
  point.communication_sms = reader.integer({.name = "communication_sms",
                                            .help = "multiprocessors held",
                                            .at_least = before.communication_sms + 1,
                                            .at_most = multiprocessors - 1});
  point.slowdown = reader.number({.name = "slowdown",
                                  .help = "time over that on as many free multiprocessors",
                                  .at_least = before.slowdown});
  reader.finish();
  return point;
}

std::vector<ContentionPoint> read_contention(Reader& reader, std::int64_t multiprocessors) {
  std::vector<ContentionPoint> curve;
  for (Reader& item : reader.items(
           "contention", "interference of communication with matrix kernels, by multiprocessors held"))
    curve.push_back(
        read_contention_point(item, curve.empty() ? ContentionPoint{} : curve.back(), multiprocessors));
  return curve;
}

}  // namespace

Device read_device(Reader& reader) {
  Device device;
  device.name = reader.text({.name = "name", .help = "of the device"});
  device.multiprocessors = reader.integer({.name = "multiprocessors",
                                           .help = "SMs of a GPU, 1 for a TPU core",
                                           .at_least = 1,
                                           .at_most = 100'000});
  read_memory(reader, device);
  device.launch_overhead =
      reader.time({.name = "launch_overhead",
                   .help = "gap between two kernels of one stream, launches queued ahead",
                   .at_least = Time{}});
  device.kernel_floor =
      reader.time({.name = "kernel_floor", .help = "shortest run of any kernel", .at_least = Time{1}});
  device.spread = reader.number(
      {.name = "spread",
       .help = "of the time that devices of this kind take for the same work: standard deviation over mean. "
               "A job runs at the pace of the slowest of its devices",
       .fallback = 0.0,
       .at_least = 0.0,
       .at_most = 0.5});
  Reader gemm = reader.part("gemm", "matrix products by precision: fp32, bf16, fp8");
  for (std::size_t i = 0; i < precision_count; ++i) {
    std::optional<Reader> behaviour =
        gemm.optional_part(precision_names[i], "matrix products of this precision");
    if (behaviour) device.gemm[i] = read_gemm(*behaviour);
  }
  gemm.finish();
  read_fused_attention(reader.part("attention", "fused attention in bf16"), device);
  device.contention = read_contention(reader, device.multiprocessors);
  reader.finish();
  return device;
}

std::vector<DevicePart> describe_device() {
  std::vector<DevicePart> parts;
  const auto describe = [&parts](std::string name, std::string sentence, auto read) {
    parts.push_back({std::move(name), std::move(sentence), {}});
    read(Reader::describing(parts.back().keys));
  };
  describe("device", "an accelerator, inside a cluster",
           [](Reader reader) { static_cast<void>(read_device(reader)); });
  describe("gemm", "\"fp32\", \"bf16\" or \"fp8\" in \"gemm\" of a device",
           [](Reader reader) { static_cast<void>(read_gemm(reader)); });
  describe("fused_attention", "part \"attention\" of a device", [](Reader reader) {
    Device unused;
    read_fused_attention(std::move(reader), unused);
  });
  describe("attention_pass", "\"forward\" or \"backward\" in \"attention\" of a device",
           [](Reader reader) { static_cast<void>(read_attention(std::move(reader))); });
  describe("contention_point", "one of \"contention\" in a device, by rising communication_sms",
           [](Reader reader) { static_cast<void>(read_contention_point(reader, {}, 100'000)); });
  return parts;
}

std::vector<std::string_view> differing_physics(const Device& a, const Device& b) {
  std::vector<std::string_view> keys;
  const auto compare = [&keys](std::string_view key, bool same) {
    if (!same) keys.push_back(key);
  };
  compare("multiprocessors", a.multiprocessors == b.multiprocessors);
  compare("memory_bandwidth", a.memory_bandwidth == b.memory_bandwidth);
  compare("memory_efficiency", a.memory_efficiency == b.memory_efficiency);
  compare("memory_ramp", a.memory_ramp == b.memory_ramp);
  compare("cache", a.cache == b.cache);
  compare("cache_bandwidth", a.cache_bandwidth == b.cache_bandwidth);
  compare("launch_overhead", a.launch_overhead == b.launch_overhead);
  compare("kernel_floor", a.kernel_floor == b.kernel_floor);
  static constexpr std::string_view products[] = {"gemm.fp32", "gemm.bf16", "gemm.fp8"};
  static_assert(std::size(products) == precision_count);
  for (std::size_t i = 0; i < precision_count; ++i) compare(products[i], a.gemm[i] == b.gemm[i]);
  compare("attention.tile_rows", a.attention_tile_rows == b.attention_tile_rows);
  compare("attention.forward", a.attention_forward == b.attention_forward);
  compare("attention.backward", a.attention_backward == b.attention_backward);
  compare("contention", a.contention == b.contention);
  return keys;
}

double interference(const Device& device, std::int64_t communication_sms) {
  ContentionPoint before{};
  if (communication_sms <= 0) return 1;
  for (const ContentionPoint& point : device.contention) {
    if (communication_sms <= point.communication_sms) {
      const double part = static_cast<double>(communication_sms - before.communication_sms) /
                          static_cast<double>(point.communication_sms - before.communication_sms);
      return before.slowdown + part * (point.slowdown - before.slowdown);
    }
    before = point;
  }
  return before.slowdown;
}

double contention(const Device& device, std::int64_t communication_sms) {
  if (communication_sms <= 0) return 1;
  const std::int64_t left = std::max<std::int64_t>(1, device.multiprocessors - communication_sms);
  const double share = static_cast<double>(device.multiprocessors) / static_cast<double>(left);
  const GemmBehaviour& gemm = device.gemm_in(Precision::bf16);
  const double power = std::max(1.0, gemm.efficiency / gemm.sustained);
  return std::max(power, share * interference(device, communication_sms)) / power;
}

}  // namespace moesim
