#include "models/cost/fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "models/base/error.hpp"
#include "models/config/values.hpp"
#include "models/cost/fit_family.hpp"
#include "models/cost/fit_physics.hpp"
#include "models/cost/fit_power.hpp"
#include "models/cost/roofline.hpp"

namespace moesim {
namespace {

/// Where the numbers come from now: what the base file had fitted elsewhere is fitted here.
void say_sources(Value& file, const std::string& date) {
  const Value* before = file.find("sources");
  Value sources = empty_object();
  if (before != nullptr) {
    for (const auto& [key, value] : before->members)
      if (value.text.find("fitted") == std::string::npos && key.find("launch_overhead") == std::string::npos)
        sources.set(key, value);
  }
  sources.set(
      "memory_efficiency, memory_ramp, launch_overhead, kernel_floor, gemm, attention, contention, "
      "power",
      value_of("fitted by moesim calibrate to the measurements in this file, finished " + date));
  file.set("sources", std::move(sources));
}

/// Everything of one device of the file.
struct Raw {
  std::string name;
  std::int64_t multiprocessors = 0;
  std::vector<Measured> grid;
  std::vector<MeasuredBeside> beside;
  double launch_seconds = 0;
  std::optional<MeasuredPower> power;
  Value about, rest;
};

void check_schema(Reader& reader) {
  const std::string schema = reader.text({.name = "schema", .help = "which kind of file this is"});
  if (schema != measurements_schema)
    reader.fail("schema", fmt::format("is '{}', expected '{}', which moesim-measure writes", schema,
                                      measurements_schema));
}

/// Nothing for what no curve is fitted to: where the library was told, as older files have it.
std::optional<MeasuredBeside> read_beside(Reader& item) {
  MeasuredBeside one;
  one.communication_sms = item.integer({.name = "communication_sms", .help = "held", .at_least = 0});
  const bool told = item.flag({.name = "told", .help = "whether the library knew", .fallback = false});
  const auto number = [&](const char* name, const char* help) {
    return item.number({.name = name, .help = help, .fallback = 0.0, .at_least = 0.0});
  };
  one.alone_seconds = number("alone_s", "of one call beside nothing");
  const double rate = number("rate", "bytes a second that own communication moves"),
               alone_rate = number("alone_rate", "the same beside nothing"),
               round = number("round_s", "of one collective");
  one.alone_round_seconds = number("alone_round_s", "the same beside nothing");
  if (rate > 0 && alone_rate > 0) one.communication = alone_rate / rate;
  if (round > 0 && one.alone_round_seconds > 0) one.communication = round / one.alone_round_seconds;
  one.with = item.text({.name = "communication",
                        .help = "within the memory of the device, to a peer, or a collective",
                        .fallback = "memory"});
  one.urgent =
      item.flag({.name = "urgent", .help = "whether the stream of NCCL goes first", .fallback = false});
  one.bytes =
      item.integer({.name = "communication_bytes", .help = "of a collective", .fallback = 0, .at_least = 0});
  const Measured measured = read_measured(item);
  item.finish();
  one.op = measured.op;
  one.seconds = measured.seconds;
  if (told) return std::nullopt;
  return one;
}

Raw read_device_part(Reader& reader) {
  Raw raw;
  raw.about = raw.rest = empty_object();
  raw.name = reader.text({.name = "device", .help = "as the driver calls it"});
  raw.multiprocessors = reader.integer({.name = "multiprocessors", .help = "of the device", .at_least = 1});
  for (const char* key : {"device", "uuid", "compute_capability", "multiprocessors", "memory_bytes",
                          "cache_bytes", "memory_bandwidth", "max_clock_mhz", "memory_clock_mhz", "driver",
                          "cuda", "cublaslt", "cudnn", "nccl", "started", "finished"})
    if (const Value* value = reader.raw(key, "of the device")) raw.about.set(key, *value);
  for (const char* key :
       {"launches", "contention", "power", "host_copies", "links", "collectives", "not_measured"})
    if (const Value* value = reader.raw(key, "beside the ops")) raw.rest.set(key, *value);
  for (Reader& item : reader.items("measurements", "times of ops")) {
    raw.grid.push_back(read_measured(item));
    item.finish();
  }
  for (Reader& item : reader.items("contention", "ops beside communication"))
    if (const std::optional<MeasuredBeside> one = read_beside(item)) raw.beside.push_back(*one);
  if (const std::optional<Reader> launches =
          reader.optional_part("launches", "seconds between empty kernels")) {
    if (const Value* value = launches->value().find("stream_s")) raw.launch_seconds = value->number;
  }
  if (std::optional<Reader> power = reader.optional_part("power", "drawn by mixes of ops"))
    raw.power = read_measured_power(std::move(*power));
  reader.finish();
  return raw;
}

}  // namespace

std::size_t devices_in(Reader& measurements) {
  const Value* devices = measurements.raw("devices", "that were measured");
  return devices == nullptr ? 0 : devices->items.size();
}

std::string device_name_in(Reader& measurements, std::size_t index) {
  const Value* devices = measurements.raw("devices", "that were measured");
  const Value* name =
      devices == nullptr || index >= devices->items.size() ? nullptr : devices->items[index].find("device");
  return name == nullptr ? std::string() : name->text;
}

namespace {

/// The device that was measured must be that of the file.
void check_device(const Reader& measured, const Raw& raw, const Device& device) {
  if (raw.name.find(device.name) != std::string::npos && raw.multiprocessors == device.multiprocessors)
    return;
  measured.fail("device", fmt::format("is {} with {} multiprocessors, but the device file is of {} with {}",
                                      raw.name, raw.multiprocessors, device.name, device.multiprocessors));
}

}  // namespace

Calibration fit_calibration(Reader& measurements, std::size_t index, const Value& base) {
  check_schema(measurements);
  const Value* mode = measurements.raw("mode", "quick or full");
  std::vector<Reader> devices = measurements.items("devices", "that were measured");
  if (index >= devices.size())
    measurements.fail("devices", fmt::format("are {}, expected number {} among them", devices.size(), index));
  Raw raw = read_device_part(devices[index]);
  if (raw.grid.empty()) devices[index].fail("measurements", "is empty, expected times of ops");
  Calibration calibration;
  Reader base_reader(base, "");
  calibration.device = read_device(base_reader);
  calibration.described = calibration.device;
  calibration.described_file = base;
  Device& device = calibration.device;
  check_device(devices[index], raw, device);
  const std::unique_ptr<const Cost> physical = make_roofline();
  device.contention = {};
  if (raw.launch_seconds > 0) {
    const double floor = std::min(to_seconds(device.kernel_floor), raw.launch_seconds / 2);
    device.launch_overhead = from_seconds(raw.launch_seconds - floor);
  }
  fit_physics(*physical, device, raw.grid);
  std::vector<double> judged;
  for (const Family& family : families_in(raw.grid))
    calibration.families.push_back(fit_family(family, *physical, device, raw.grid, judged));
  calibration.held_out = errors_of(judged);
  fit_contention(*physical, device, raw.beside);
  // Measurements without power are at clocks that are not told.
  if (!raw.power) device.power.reset();
  if (raw.power && device.power) {
    fit_power(*physical, device, *raw.power);
    calibration.power = power_errors(*physical, device, *raw.power);
  }
  calibration.device_file = base;
  write_fitted(calibration.device_file, device);
  if (!device.power)
    std::erase_if(calibration.device_file.members,
                  [](const auto& member) { return member.first == "power"; });
  const Value* finished = raw.about.find("finished");
  say_sources(calibration.device_file, finished == nullptr ? "at a time not told" : finished->text);
  if (mode != nullptr) raw.about.set("mode", *mode);
  calibration.about = raw.about;
  calibration.rest = raw.rest;
  std::erase_if(raw.grid, [](const Measured& m) { return m.held_out; });
  calibration.grid = std::move(raw.grid);
  return calibration;
}

}  // namespace moesim
