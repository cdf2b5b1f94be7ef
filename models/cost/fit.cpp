#include "models/cost/fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "models/base/error.hpp"
#include "models/config/values.hpp"
#include "models/cost/access_fit.hpp"
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
  std::vector<Measured> accesses;  ///< kernels of common software
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
                          "cuda", "cublaslt", "cudnn", "nccl", "pytorch", "started", "finished"})
    if (const Value* value = reader.raw(key, "of the device")) raw.about.set(key, *value);
  for (const char* key :
       {"launches", "contention", "power", "host_copies", "links", "collectives", "not_measured"})
    if (const Value* value = reader.raw(key, "beside the ops")) raw.rest.set(key, *value);
  for (Reader& item : reader.items("measurements", "times of ops")) {
    Measured measured = read_measured(item);
    (measured.op.access.share > 0 ? raw.accesses : raw.grid).push_back(std::move(measured));
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
void check_device(const Reader& measured, const Raw& raw, const Device& device, std::string_view file) {
  if (raw.name.find(device.name) != std::string::npos && raw.multiprocessors == device.multiprocessors)
    return;
  measured.fail("device", fmt::format("is {} with {} multiprocessors, but the {} is of {} with {}", raw.name,
                                      raw.multiprocessors, file, device.name, device.multiprocessors));
}

/// One of the devices of a file, and where to say what is wrong with it.
struct Found {
  Reader reader;
  Raw raw;
};

Found find_device(Reader& measurements, std::size_t index) {
  check_schema(measurements);
  const Value* mode = measurements.raw("mode", "quick or full");
  std::vector<Reader> devices = measurements.items("devices", "that were measured");
  if (index >= devices.size())
    measurements.fail("devices", fmt::format("are {}, expected number {} among them", devices.size(), index));
  Raw raw = read_device_part(devices[index]);
  if (raw.grid.empty() && raw.accesses.empty())
    devices[index].fail("measurements", "is empty, expected times of ops");
  if (mode != nullptr) raw.about.set("mode", *mode);
  return {std::move(devices[index]), std::move(raw)};
}

void fit_ops(const Cost& physical, Calibration& calibration, const Raw& raw) {
  Device& device = calibration.device;
  device.contention = {};
  if (raw.launch_seconds > 0) {
    const double floor = std::min(to_seconds(device.kernel_floor), raw.launch_seconds / 2);
    device.launch_overhead = from_seconds(raw.launch_seconds - floor);
  }
  fit_physics(physical, device, raw.grid);
  std::vector<double> judged;
  for (const Family& family : families_in(raw.grid))
    calibration.families.push_back(fit_family(family, physical, device, raw.grid, judged));
  calibration.held_out = errors_of(judged);
  fit_contention(physical, device, raw.beside);
  // Measurements without power are at clocks that are not told.
  if (!raw.power) device.power.reset();
  if (raw.power && device.power) {
    fit_power(physical, device, *raw.power);
    calibration.power = power_errors(physical, device, *raw.power);
  }
  write_fitted(calibration.device_file, device);
  if (!device.power)
    std::erase_if(calibration.device_file.members,
                  [](const auto& member) { return member.first == "power"; });
  const Value* finished = raw.about.find("finished");
  say_sources(calibration.device_file, finished == nullptr ? "at a time not told" : finished->text);
}

void take_accesses(const Cost& physical, Calibration& calibration, const Raw& raw) {
  if (raw.accesses.empty()) return;
  for (AccessFit& fit : fit_accesses(physical, calibration.device, raw.accesses)) {
    std::erase_if(calibration.accesses,
                  [&](const AccessFit& before) { return before.law.name == fit.law.name; });
    calibration.accesses.push_back(fit);
  }
  calibration.accesses_about = raw.about;
}

}  // namespace

Calibration fit_calibration(Reader& measurements, std::size_t index, const Value& base) {
  Found found = find_device(measurements, index);
  Raw& raw = found.raw;
  Calibration calibration;
  Reader base_reader(base, "");
  calibration.device = read_device(base_reader);
  calibration.described = calibration.device;
  calibration.device_file = calibration.described_file = base;
  check_device(found.reader, raw, calibration.device, "device file");
  const std::unique_ptr<const Cost> physical = make_roofline();
  if (!raw.grid.empty()) fit_ops(*physical, calibration, raw);
  take_accesses(*physical, calibration, raw);
  calibration.about = raw.about;
  calibration.rest = raw.rest;
  std::erase_if(raw.grid, [](const Measured& m) { return m.held_out; });
  calibration.grid = std::move(raw.grid);
  return calibration;
}

Calibration add_accesses(Reader& measurements, std::size_t index, Calibration calibration) {
  const Found found = find_device(measurements, index);
  check_device(found.reader, found.raw, calibration.device, "calibration");
  if (!found.raw.grid.empty())
    found.reader.fail("measurements",
                      "has other ops than streaming too, which are not added to a calibration",
                      "without --calibration FILE all of them are fitted from a device file");
  take_accesses(*make_roofline(), calibration, found.raw);
  return calibration;
}

std::vector<Measured> measured_in(Reader& measurements, std::size_t index) {
  Raw raw = find_device(measurements, index).raw;
  raw.grid.insert(raw.grid.end(), raw.accesses.begin(), raw.accesses.end());
  return raw.grid;
}

}  // namespace moesim
