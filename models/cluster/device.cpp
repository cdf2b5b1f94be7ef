#include "models/cluster/device.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "models/base/error.hpp"
#include "models/config/fields.hpp"
#include "models/config/values.hpp"

namespace moesim {
namespace {

using namespace literals;

constexpr double widest = 1.5;  // beyond the data sheet's peak by boost clock, at the very most

/// A time that is none where it is not given.
Key<Time> time_key(std::string_view name, std::string_view help) {
  return {.name = name, .help = help, .fallback = Time{}, .at_least = Time{}};
}

Key<double> share_key(std::string_view name, std::string_view help, double most = widest) {
  return {.name = name, .help = help, .at_least = 0.01, .at_most = most};
}

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

auto product_efficiency() {
  return std::tuple{
      fitted(&GemmBehaviour::efficiency,
             share_key("efficiency", "share of the peak that the main loop reaches at full clock"))};
}

/// How a product behaves beyond its efficiency, which is also the usual sustained share.
auto product_keys(double efficiency) {
  using Gemm = GemmBehaviour;
  Key<double> sustained = share_key(
      "sustained", "share of the peak at which the power limit holds the whole chip (default: efficiency)");
  sustained.fallback = efficiency;
  return std::tuple{
      fitted(&Gemm::sustained, sustained),
      fitted(&Gemm::feed,
             {.name = "feed", .help = "operands that one multiprocessor takes in from the cache"}),
      fitted(&Gemm::kernel_overhead, time_key("kernel_overhead", "once per kernel beyond its floor")),
      fitted(&Gemm::tile_overhead, time_key("tile_overhead", "per wave of tiles: refill, epilogue")),
      fitted(&Gemm::may_split, &Gemm::split_overhead,
             time_key("split_overhead",
                      "once per kernel that splits the depth; not given: kernels do not split")),
      fitted(&Gemm::unhidden,
             {.name = "unhidden",
              .help = "share of the shorter of arithmetic and traffic not hidden by the longer",
              .fallback = 0.0,
              .at_least = 0.0,
              .at_most = 1.0}),
      field(&Gemm::exposed_sums,
            {.name = "exposed_sums",
             .help = "share of a weight gradient's traffic to its sums in fp32 during which its products "
                     "stand still: a tile reads and writes its part of them after its depth",
             .fallback = 0.0,
             .at_least = 0.0,
             .at_most = 1.0})};
}

Fit fits_tiles(const std::vector<Tile>& tiles) {
  if (!tiles.empty()) return {};
  return Misfit("tiles", "is empty, expected tiles as \"128x256\"");
}

GemmBehaviour read_gemm(Reader& reader) {
  GemmBehaviour gemm;
  read_fields(reader, gemm,
              field(&GemmBehaviour::peak, {.name = "peak", .help = "dense peak of the data sheet"}));
  read_product(reader, gemm);
  for (const std::string& text :
       reader.texts({.name = "tiles", .help = "output tiles to choose from, as 128x256"})) {
    gemm.tiles.push_back(read_tile(reader, text));
  }
  reader.expect(fits_tiles, gemm.tiles);
  reader.finish();
  return gemm;
}

/// One direction of fused attention; scores are read and written in units of 10^9.
auto attention_keys() {
  using Attention = AttentionBehaviour;
  Key<double> wide = share_key("wide",
                               "share of efficiency that heads of more than 128 reach: their tiles "
                               "are smaller, as accumulators have to fit",
                               2);
  wide.fallback = 1.0;
  Key<double> sustained =
      share_key("sustained",
                "share of the bf16 peak at which the power limit holds the whole chip; not "
                "given: it does not",
                2);
  sustained.fallback = 2.0;
  return std::tuple{
      fitted(&Attention::efficiency,
             share_key("efficiency", "share of the bf16 peak in its products, softmax counted apart")),
      fitted(&Attention::score_rate, {.name = "giga_scores_per_second",
                                      .help = "scores that one multiprocessor takes through softmax",
                                      .at_least = 1e-3}),
      field(&Attention::unhidden,
            {.name = "unhidden",
             .help = "share of the shorter of products and softmax that the longer does not hide",
             .fallback = 1.0,
             .at_least = 0.0,
             .at_most = 1.0}),
      field(&Attention::wide, wide),
      field(&Attention::sustained, sustained),
      fitted(&Attention::tile_overhead, time_key("tile_overhead", "per tile of queries")),
      fitted(&Attention::kernel_overhead, time_key("kernel_overhead", "once per call beyond a floor"))};
}

AttentionBehaviour read_attention(Reader reader) {
  AttentionBehaviour attention;
  read_fields(reader, attention, attention_keys());
  attention.score_rate *= 1e9;
  reader.finish();
  return attention;
}

/// Device memory and the cache before it.
auto memory_keys() {
  constexpr Bytes most_buffer{std::int64_t{1} << 30};
  return std::tuple{
      field(&Device::memory, {.name = "memory",
                              .help = "capacity of device memory, as the driver reports it",
                              .at_least = Bytes{1}}),
      field(&Device::driver_memory, {.name = "driver_memory",
                                     .help = "what the driver takes of it for a process before any tensor",
                                     .fallback = Bytes{},
                                     .at_least = Bytes{}}),
      field(&Device::channel_buffer,
            {.name = "channel_buffer",
             .help =
                 "what a communicator takes of it for one channel and one neighbour, to receive and to send",
             .fallback = Bytes{},
             .at_least = Bytes{},
             .at_most = most_buffer}),
      field(&Device::memory_bandwidth, {.name = "memory_bandwidth", .help = "data sheet"}),
      fitted(&Device::memory_efficiency,
             share_key("memory_efficiency", "share of it that streaming kernels reach", 1)),
      fitted(&Device::memory_ramp,
             time_key("memory_ramp", "until the memory pipeline is full; half speed before")),
      field(&Device::cache,
            {.name = "cache",
             .help = "last-level cache: partial sums of split products stay in it as far as they fit",
             .at_least = Bytes{}}),
      field(&Device::cache_bandwidth, {.name = "cache_bandwidth", .help = "of the last-level cache"})};
}

/// All numbers of a device file that stand in no part.
auto device_keys() {
  const std::tuple names{field(&Device::name, {.name = "name", .help = "of the device"}),
                         choice(&Device::generation, generation_names,
                                {.name = "generation",
                                 .help = "of NVIDIA's GPUs: what NCCL does between them, and what runs on "
                                         "them; none: not known, or another's device",
                                 .fallback = "none"}),
                         field(&Device::multiprocessors, {.name = "multiprocessors",
                                                          .help = "SMs of a GPU, 1 for a TPU core",
                                                          .at_least = 1,
                                                          .at_most = 100'000})};
  const std::tuple others{
      field(&Device::host_rate,
            {.name = "host_rate",
             .help = "of copies to or from the host's memory, one way at a time; 0: not known",
             .fallback = Rate{},
             .at_least = Rate{}}),
      field(
          &Device::cycle,
          {.name = "cycle",
           .help = "time of a cycle of its multiprocessors' clock; 0 s: not known, bytes alone bound kernels",
           .fallback = Time{},
           .at_least = Time{}}),
      fitted(&Device::launch_overhead,
             {.name = "launch_overhead",
              .help = "gap between two kernels of one stream, launches queued ahead",
              .at_least = Time{}}),
      fitted(&Device::kernel_floor,
             {.name = "kernel_floor", .help = "shortest run of any kernel", .at_least = Time{1}}),
      field(&Device::spread,
            {.name = "spread",
             .help = "of the time that devices of this kind take for the same work: standard deviation over "
                     "mean. A job runs at the pace of the slowest of its devices",
             .fallback = 0.0,
             .at_least = 0.0,
             .at_most = 0.5})};
  return std::tuple_cat(names, memory_keys(), others);
}

// A megawatt, and a joule for a byte or a thousand operations: beyond any device.
constexpr Power most_power{1e6};
constexpr Energy most_energy{1e-3};

/// What a device draws.
auto power_keys() {
  using Draw = PowerBehaviour;
  return std::tuple{
      field(&Draw::limit, {.name = "limit",
                           .help = "power that the driver lets it draw in the mean",
                           .at_least = Power{1},
                           .at_most = most_power}),
      fitted(&Draw::held, {.name = "held",
                           .help = "share of the limit at which the mean settles",
                           .fallback = 1.0,
                           .at_least = 0.5,
                           .at_most = 1.1}),
      fitted(&Draw::window, {.name = "window",
                             .help = "time over which it is the mean that is held; a pause counts no longer",
                             .fallback = from_seconds(0.1),
                             .at_least = Time{1}}),
      fitted(&Draw::idle, {.name = "idle", .help = "power without a kernel", .at_most = most_power}),
      fitted(&Draw::active, {.name = "active",
                             .help = "power of any kernel at full clock, beyond idle",
                             .at_most = most_power}),
      fitted(&Draw::per_byte,
             {.name = "per_byte", .help = "energy of a byte of device memory", .at_most = most_energy}),
      fitted(&Draw::exponent, {.name = "exponent",
                               .help = "of the clock, in the power that multiprocessors draw",
                               .at_least = 1.0,
                               .at_most = 4.0}),
      fitted(&Draw::knee, {.name = "knee",
                           .help = "share of the full clock above which products sustain no more",
                           .fallback = 1.0,
                           .at_least = 0.1,
                           .at_most = 1.0}),
      fitted(&Draw::traffic,
             {.name = "traffic",
              .help = "share of the time of traffic to device memory that goes with the clock",
              .fallback = 0.0,
              .at_least = 0.0,
              .at_most = 1.0}),
      field(&Draw::per_sent, {.name = "per_sent",
                              .help = "energy of a byte that is sent to another device",
                              .fallback = Energy{},
                              .at_most = most_energy})};
}

Fit fits_per_flop(const PowerBehaviour& power) {
  for (const Energy& each : power.per_flop)
    if (each.count > 0) return {};
  return Misfit("bf16", "is missing, expected the energy of an operation in one precision at least");
}

void read_per_flop(Reader reader, PowerBehaviour& power) {
  for (std::size_t i = 0; i < precision_count; ++i)
    power.per_flop[i] =
        reader.energy({.name = precision_names[i],
                       .help = "energy of an operation at full clock; not given: the most of those that are",
                       .fallback = Energy{},
                       .at_most = most_energy});
  reader.expect(fits_per_flop, power);
  reader.finish();
}

Fit fits_limit(const PowerBehaviour& power) {
  if (power.limit * power.held > power.idle) return {};
  return Misfit("limit", "is {}, expected more than {}: {:.3g} of it are held, and the device draws {} idle",
                print(power.limit), print(power.idle / power.held), power.held, print(power.idle));
}

PowerBehaviour read_power(Reader& reader) {
  PowerBehaviour power;
  read_fields(reader, power, power_keys());
  reader.expect(fits_limit, power);
  read_per_flop(reader.part("per_flop", "energy of an operation in the matrix units: fp32, bf16, fp8, fp4"),
                power);
  reader.finish();
  return power;
}

void write_power(Value& file, const PowerBehaviour& power) {
  Value* const object = file.find("power");
  if (object == nullptr) return;
  write_fitted(*object, power, power_keys());
  Value energies = empty_object();
  for (std::size_t i = 0; i < precision_count; ++i)
    if (power.per_flop[i].count > 0) energies.set(precision_names[i], fitted_value(power.per_flop[i]));
  object->set("per_flop", std::move(energies));
}

void read_fused_attention(Reader reader, Device& device) {
  device.attention_tile_rows =
      reader.integer({.name = "tile_rows", .help = "queries of one tile", .at_least = 1});
  device.attention_forward = read_attention(reader.part("forward", "scores, softmax, weighted values"));
  device.attention_backward = read_attention(reader.part("backward", "the five products of the gradient"));
  reader.finish();
}

}  // namespace

void read_product(Reader& reader, GemmBehaviour& gemm) {
  read_fields(reader, gemm, product_efficiency());
  read_fields(reader, gemm, product_keys(reader.is_describing() ? 1 : gemm.efficiency));
}

void write_product(Value& object, const GemmBehaviour& gemm) {
  write_fitted(object, gemm, product_efficiency());
  write_fitted(object, gemm, product_keys(gemm.efficiency));
}

void write_fitted(Value& file, const Device& device) {
  write_fitted(file, device, device_keys());
  for (std::size_t p = 0; p < precision_count; ++p) {
    GemmBehaviour gemm = device.gemm[p];
    gemm.sustained = std::min(gemm.sustained, gemm.efficiency);
    if (Value* object = file.find("gemm")->find(precision_names[p])) write_product(*object, gemm);
  }
  for (const bool backward : {false, true}) {
    AttentionBehaviour fused = backward ? device.attention_backward : device.attention_forward;
    fused.score_rate /= 1e9;
    write_fitted(*file.find("attention")->find(backward ? "backward" : "forward"), fused, attention_keys());
  }
  if (device.power) write_power(file, *device.power);
  write_contention(file, device.contention);
}

Device read_device(Reader& reader) {
  Device device;
  read_fields(reader, device, device_keys());
  Reader gemm = reader.part("gemm", "matrix products by precision: fp32, bf16, fp8, fp4");
  for (std::size_t i = 0; i < precision_count; ++i) {
    std::optional<Reader> behaviour =
        gemm.optional_part(precision_names[i], "matrix products of this precision");
    if (behaviour) device.gemm[i] = read_gemm(*behaviour);
  }
  gemm.finish();
  read_fused_attention(reader.part("attention", "fused attention in bf16"), device);
  device.contention = read_contention(reader, device.multiprocessors);
  if (std::optional<Reader> power = reader.optional_part("power", "what the device draws, and its limit"))
    device.power = read_power(*power);
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
  describe("gemm", "\"fp32\", \"bf16\", \"fp8\" or \"fp4\" in \"gemm\" of a device",
           [](Reader reader) { static_cast<void>(read_gemm(reader)); });
  describe("fused_attention", "part \"attention\" of a device", [](Reader reader) {
    Device unused;
    read_fused_attention(std::move(reader), unused);
  });
  describe("attention_pass", "\"forward\" or \"backward\" in \"attention\" of a device",
           [](Reader reader) { static_cast<void>(read_attention(std::move(reader))); });
  describe("contention", "\"contention\" of a device",
           [](Reader reader) { describe_contention(std::move(reader)); });
  describe("nccl_contention", "part \"nccl\" of \"contention\": how compute and NCCL slow each other",
           [](Reader reader) { describe_nccl_contention(std::move(reader)); });
  describe("contention_point", "one of a curve in \"contention\" of a device, by rising communication_sms",
           [](Reader reader) { describe_contention_point(std::move(reader)); });
  describe("power", "part \"power\" of a device: what it draws",
           [](Reader reader) { static_cast<void>(read_power(reader)); });
  describe("per_flop", "part \"per_flop\" of \"power\"", [](Reader reader) {
    PowerBehaviour unused;
    read_per_flop(std::move(reader), unused);
  });
  return parts;
}

}  // namespace moesim
