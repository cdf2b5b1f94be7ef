#include "models/cost/fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "models/base/error.hpp"
#include "models/cost/roofline.hpp"

namespace moesim {
namespace {

/// A number of the device that is fitted, within bounds that physics sets.
struct Parameter {
  std::function<double()> get;
  std::function<void(double)> set;
  double least = 0, most = 1e30;
};

Parameter of_time(Time& time) {
  return {[&time] { return to_seconds(time); }, [&time](double value) { time = from_seconds(value); }, 1e-9,
          1e-3};
}
Parameter of_rate(Rate& rate) {
  return {[&rate] { return rate.count; }, [&rate](double value) { rate.count = value; }, 1e6, 1e15};
}
Parameter of_ratio(double& ratio, double least, double most) {
  return {[&ratio] { return ratio; }, [&ratio](double value) { ratio = value; }, least, most};
}

using Rows = std::vector<const Measured*>;

double logarithm(const Cost& cost, const Device& device, const Measured& measured, std::int64_t sms = 0) {
  return std::log(to_seconds(cost.time(measured.op, device, sms).time) / measured.seconds);
}

/// The mean error of the logarithm; beyond half it counts no more, so that odd shapes do not pull.
double loss(const Cost& cost, const Device& device, const Rows& rows) {
  double sum = 0;
  for (const Measured* row : rows) sum += std::min(std::abs(logarithm(cost, device, *row)), 0.5);
  return sum / static_cast<double>(std::max<std::size_t>(1, rows.size()));
}

/// Moves one parameter after the other until no step of 1 % helps.
void descend(const Cost& cost, const Device& device, const Rows& rows, std::vector<Parameter>& parameters) {
  if (rows.size() < 2 * parameters.size()) return;  // too few to tell anything apart
  double best = loss(cost, device, rows);
  for (const double step : {1.3, 1.1, 1.03, 1.01}) {
    for (bool moved = true; moved;) {
      moved = false;
      for (Parameter& parameter : parameters) {
        for (const double factor : {step, 1 / step}) {
          const double before = parameter.get();
          parameter.set(std::clamp(before * factor, parameter.least, parameter.most));
          const double found = loss(cost, device, rows);
          if (found < best - 1e-5) {
            best = found;
            moved = true;
          } else {
            parameter.set(before);
          }
        }
      }
    }
  }
}

Rows rows_where(const std::vector<Measured>& grid, const std::function<bool(const Op&)>& holds) {
  Rows rows;
  for (const Measured& measured : grid)
    if (!measured.held_out && holds(measured.op)) rows.push_back(&measured);
  return rows;
}

void fit_products(const Cost& cost, Device& device, const std::vector<Measured>& grid, Precision precision) {
  GemmBehaviour& gemm = device.gemm[static_cast<std::size_t>(precision)];
  if (gemm.peak.count <= 0) return;
  std::vector<Parameter> parameters{of_ratio(gemm.efficiency, 0.4, 1.08),
                                    of_ratio(gemm.sustained, 0.3, 1.08),
                                    of_rate(gemm.feed),
                                    of_time(gemm.tile_overhead),
                                    of_time(gemm.kernel_overhead),
                                    of_ratio(gemm.unhidden, 1e-3, 1)};
  if (gemm.may_split) parameters.push_back(of_time(gemm.split_overhead));
  descend(
      cost, device,
      rows_where(
          grid,
          [&](const Op& op) {
            return op.kind == OpKind::gemm && op.precision == precision && std::min({op.m, op.n, op.k}) >= 16;
          }),
      parameters);
}

void fit_attention(const Cost& cost, Device& device, const std::vector<Measured>& grid) {
  for (const bool backward : {false, true}) {
    AttentionBehaviour& fused = backward ? device.attention_backward : device.attention_forward;
    std::vector<Parameter> parameters{of_ratio(fused.efficiency, 0.1, 1.08),
                                      of_ratio(fused.score_rate, 1e8, 1e13), of_time(fused.tile_overhead),
                                      of_time(fused.kernel_overhead)};
    descend(cost, device,
            rows_where(grid,
                       [&](const Op& op) {
                         return op.kind == OpKind::attention && (op.pass != OpPass::forward) == backward;
                       }),
            parameters);
  }
}

void fit_memory(const Cost& cost, Device& device, const std::vector<Measured>& grid) {
  std::vector<Parameter> parameters{of_ratio(device.memory_efficiency, 0.3, 1), of_time(device.kernel_floor),
                                    of_time(device.memory_ramp)};
  descend(cost, device,
          rows_where(grid,
                     [](const Op& op) {
                       return op.flops.count <= 0 && op.kind != OpKind::router && op.kind != OpKind::permute;
                     }),
          parameters);
}

/// For each number of multiprocessors held, the interference with which half the products come out too slow.
void fit_contention(const Cost& cost, Device& device, const std::vector<Measured>& held,
                    const std::vector<std::int64_t>& sms) {
  device.contention.clear();
  std::vector<std::int64_t> counts(sms);
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  std::vector<ContentionPoint> curve;
  for (const std::int64_t count : counts) {
    if (count <= 0 || count >= device.multiprocessors) continue;
    double best = 1e30;
    ContentionPoint point{count, 1};
    for (double slowdown = curve.empty() ? 1.0 : curve.back().slowdown; slowdown < 3; slowdown += 0.01) {
      device.contention = {{count, slowdown}};
      double sum = 0;
      for (std::size_t i = 0; i < held.size(); ++i)
        if (sms[i] == count) sum += std::abs(logarithm(cost, device, held[i], count));
      if (sum < best - 1e-9) {
        best = sum;
        point.slowdown = slowdown;
      }
    }
    curve.push_back(point);
  }
  device.contention = curve;
}

std::vector<Family> families_in(const std::vector<Measured>& grid) {
  std::vector<Family> families;
  for (const Measured& measured : grid) {
    const Family family = family_of(measured.op);
    if (std::find(families.begin(), families.end(), family) == families.end()) families.push_back(family);
  }
  return families;
}

/// Adds what is off on shapes outside of the grid to `all_judged`.
FamilyFit fit_family(const Family& family, const Cost& cost, const Device& device,
                     const std::vector<Measured>& grid, std::vector<double>& all_judged) {
  FamilyFit fit;
  fit.family = family;
  std::vector<Place> places;
  std::vector<double> missed, physical, judged;
  for (const Measured& m : grid) {
    if (m.held_out || !(family_of(m.op) == family)) continue;
    places.push_back(place_of(m.op, cost, device));
    physical.push_back(logarithm(cost, device, m));
    missed.push_back(-physical.back());
  }
  fit.shape = best_shape(places, missed);
  Surface surface(places, missed, fit.shape);
  surface.judge();
  for (const Measured& m : grid)
    if (m.held_out && family_of(m.op) == family)
      judged.push_back(logarithm(cost, device, m) + surface.at(place_of(m.op, cost, device)));
  fit.physical = errors_of(physical);
  fit.left_out = errors_of(surface.left_out());
  fit.held_out = errors_of(judged);
  all_judged.insert(all_judged.end(), judged.begin(), judged.end());
  return fit;
}

/// Where the numbers come from now: what the base file had fitted elsewhere is fitted here.
void say_sources(Value& file, const std::string& date) {
  const Value* before = file.find("sources");
  Value sources;
  sources.kind = Value::Kind::object;
  if (before != nullptr) {
    for (const auto& [key, value] : before->members)
      if (value.text.find("fitted") == std::string::npos && key.find("launch_overhead") == std::string::npos)
        sources.set(key, value);
  }
  Value fitted;
  fitted.kind = Value::Kind::text;
  fitted.text = "fitted by moesim calibrate to the measurements in this file, finished " + date;
  sources.set("memory_efficiency, memory_ramp, launch_overhead, kernel_floor, gemm, attention, contention",
              fitted);
  file.set("sources", std::move(sources));
}

/// Numbers that were fitted, back into a device file; what the data sheet says stays.
void write_back(Value& file, const Device& d) {
  const auto text = [&](std::string value) {
    Value made;
    made.kind = Value::Kind::text;
    made.text = std::move(value);
    return made;
  };
  const auto number = [](double value) {
    Value made;
    made.kind = Value::Kind::number;
    made.number = std::stod(fmt::format("{:.6g}", value));
    return made;
  };
  const auto time = [&](Time value) { return text(fmt::format("{:.6g} us", to_seconds(value) * 1e6)); };
  file.set("memory_efficiency", number(d.memory_efficiency));
  file.set("memory_ramp", time(d.memory_ramp));
  file.set("launch_overhead", time(d.launch_overhead));
  file.set("kernel_floor", time(d.kernel_floor));
  for (std::size_t p = 0; p < precision_count; ++p) {
    Value* gemm = file.find("gemm")->find(precision_names[p]);
    if (gemm == nullptr) continue;
    const GemmBehaviour& g = d.gemm[p];
    gemm->set("efficiency", number(g.efficiency));
    gemm->set("sustained", number(std::min(g.sustained, g.efficiency)));
    gemm->set("feed", text(fmt::format("{:.6g} GB/s", g.feed.count / 1e9)));
    gemm->set("tile_overhead", time(g.tile_overhead));
    gemm->set("kernel_overhead", time(g.kernel_overhead));
    gemm->set("unhidden", number(g.unhidden));
    if (g.may_split) gemm->set("split_overhead", time(g.split_overhead));
  }
  for (const bool backward : {false, true}) {
    Value* fused = file.find("attention")->find(backward ? "backward" : "forward");
    const AttentionBehaviour& a = backward ? d.attention_backward : d.attention_forward;
    fused->set("efficiency", number(a.efficiency));
    fused->set("giga_scores_per_second", number(a.score_rate / 1e9));
    fused->set("tile_overhead", time(a.tile_overhead));
    fused->set("kernel_overhead", time(a.kernel_overhead));
  }
  Value curve;
  curve.kind = Value::Kind::list;
  for (const ContentionPoint& point : d.contention) {
    Value item;
    item.kind = Value::Kind::object;
    Value sms;
    sms.kind = Value::Kind::integer;
    sms.integer = point.communication_sms;
    sms.number = static_cast<double>(point.communication_sms);
    item.set("communication_sms", sms);
    item.set("slowdown", number(point.slowdown));
    curve.items.push_back(std::move(item));
  }
  if (!d.contention.empty()) file.set("contention", std::move(curve));
}

/// Everything of one device of the file.
struct Raw {
  std::string name;
  std::int64_t multiprocessors = 0;
  std::vector<Measured> grid, held;
  std::vector<std::int64_t> held_sms;
  double launch_seconds = 0;
  Value about, rest;
};

void check_schema(Reader& reader) {
  const std::string schema = reader.text({.name = "schema", .help = "which kind of file this is"});
  if (schema != measurements_schema)
    reader.fail("schema", fmt::format("is '{}', expected '{}', which moesim-measure writes", schema,
                                      measurements_schema));
}

Raw read_device_part(Reader& reader) {
  Raw raw;
  raw.about.kind = raw.rest.kind = Value::Kind::object;
  raw.name = reader.text({.name = "device", .help = "as the driver calls it"});
  raw.multiprocessors = reader.integer({.name = "multiprocessors", .help = "of the device", .at_least = 1});
  for (const char* key : {"device", "uuid", "compute_capability", "multiprocessors", "memory_bytes",
                          "cache_bytes", "memory_bandwidth", "max_clock_mhz", "memory_clock_mhz", "driver",
                          "cuda", "cublaslt", "cudnn", "nccl", "started", "finished"})
    if (const Value* value = reader.raw(key, "of the device")) raw.about.set(key, *value);
  for (const char* key : {"launches", "contention", "host_copies", "links", "collectives", "not_measured"})
    if (const Value* value = reader.raw(key, "beside the ops")) raw.rest.set(key, *value);
  for (Reader& item : reader.items("measurements", "times of ops")) {
    raw.grid.push_back(read_measured(item));
    item.finish();
  }
  for (Reader& item : reader.items("contention", "products while multiprocessors are held")) {
    const std::int64_t sms = item.integer({.name = "communication_sms", .help = "held", .at_least = 0});
    const bool told = item.flag({.name = "told", .help = "whether the library knew", .fallback = false});
    Measured measured = read_measured(item);
    item.finish();
    if (told) continue;
    raw.held.push_back(std::move(measured));
    raw.held_sms.push_back(sms);
  }
  if (const std::optional<Reader> launches =
          reader.optional_part("launches", "seconds between empty kernels")) {
    if (const Value* value = launches->value().find("stream_s")) raw.launch_seconds = value->number;
  }
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
  Device& device = calibration.device;
  if (raw.name.find(device.name) == std::string::npos || raw.multiprocessors != device.multiprocessors) {
    devices[index].fail(
        "device", fmt::format("is {} with {} multiprocessors, but the device file is of {} with {}", raw.name,
                              raw.multiprocessors, device.name, device.multiprocessors));
  }
  const std::unique_ptr<const Cost> physical = make_roofline(1);
  device.contention.clear();
  if (raw.launch_seconds > 0) {
    const double floor = std::min(to_seconds(device.kernel_floor), raw.launch_seconds / 2);
    device.launch_overhead = from_seconds(raw.launch_seconds - floor);
  }
  fit_memory(*physical, device, raw.grid);
  for (const Precision precision : {Precision::bf16, Precision::fp8})
    fit_products(*physical, device, raw.grid, precision);
  fit_attention(*physical, device, raw.grid);
  std::vector<double> judged;
  for (const Family& family : families_in(raw.grid))
    calibration.families.push_back(fit_family(family, *physical, device, raw.grid, judged));
  calibration.held_out = errors_of(judged);
  fit_contention(*physical, device, raw.held, raw.held_sms);
  calibration.device_file = base;
  write_back(calibration.device_file, device);
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
