// From what moesim-measure says of collectives to curves.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/config/values.hpp"
#include "sim/collective/measured.hpp"

namespace moesim {
namespace {

/// One line of the measurements.
struct Line {
  std::string collective, library;
  std::int64_t ranks = 0, nodes = 1;
  double bytes = 0, seconds = 0;
  bool held_out = false, has_nvls = false;
};

Line read_line(Reader& reader) {
  Line line;
  line.collective = reader.text({.name = "collective", .help = "what the ranks did together"});
  line.library = reader.text({.name = "library", .help = "who did it"});
  line.ranks = reader.integer({.name = "ranks", .help = "of the group", .at_least = 2});
  line.nodes = reader.integer({.name = "nodes", .help = "that they are on", .at_least = 1});
  line.bytes = reader.number({.name = "bytes", .help = "of a rank's whole buffer", .at_least = 1.0});
  line.seconds = reader.number({.name = "time_s", .help = "of one call", .at_least = 1e-9});
  line.held_out = reader.flag(
      {.name = "held_out", .help = "whether it judges what is made of the others", .fallback = false});
  line.has_nvls =
      reader.flag({.name = "nvls", .help = "whether it was free to run in NVSwitch", .fallback = false});
  reader.finish();
  return line;
}

/// Sizes and times of one operation of so many ranks.
struct Points {
  std::map<double, double> fitted, held_out;
};

/// The nearest times in logarithms that never fall: neighbours that do are pooled to their mean (Ayer et al.,
/// An Empirical Distribution Function for Sampling with Incomplete Information, 1955).
std::vector<double> never_falling(const std::map<double, double>& points) {
  struct Pool {
    double sum = 0;  // of logarithms
    std::size_t count = 0;
    double mean() const { return sum / static_cast<double>(count); }
  };
  std::vector<Pool> pools;
  for (const auto& [bytes, seconds] : points) {
    pools.push_back({std::log(seconds), 1});
    while (pools.size() > 1 && pools[pools.size() - 2].mean() > pools.back().mean()) {
      const Pool last = pools.back();
      pools.pop_back();
      pools.back().sum += last.sum;
      pools.back().count += last.count;
    }
  }
  std::vector<double> seconds;
  for (const Pool& pool : pools) seconds.insert(seconds.end(), pool.count, std::exp(pool.mean()));
  return seconds;
}

TimeCurve curve_of(Operation operation, std::int64_t ranks, const Points& points) {
  TimeCurve curve{.operation = operation, .ranks = ranks, .bytes = {}, .seconds = {}, .held_out = {}};
  for (const auto& [bytes, seconds] : points.fitted) curve.bytes.push_back(bytes);
  curve.seconds = never_falling(points.fitted);
  std::vector<double> errors;
  for (const auto& [bytes, seconds] : points.held_out) errors.push_back(std::log(curve.at(bytes) / seconds));
  curve.held_out = errors_of(std::move(errors));
  return curve;
}

/// Where and when, without what only ops are measured with.
Value about_of(Reader& device) {
  Value about = empty_object();
  for (const char* key : {"device", "driver", "cuda", "nccl", "started", "finished"})
    if (const Value* value = device.raw(key, "of the measurement")) about.set(key, *value);
  return about;
}

}  // namespace

MeasuredCollectives fit_collectives(Reader& device, Rate link_rate) {
  MeasuredCollectives measured{
      .about = about_of(device), .link_rate = link_rate, .has_nvls = false, .curves = {}};
  std::map<std::pair<std::size_t, std::int64_t>, Points> groups;
  for (Reader& item : device.items("collectives", "times by size and ranks")) {
    const Line line = read_line(item);
    const auto* const begin = std::begin(operation_names);
    const auto named =
        static_cast<std::size_t>(std::find(begin, std::end(operation_names), line.collective) - begin);
    const bool is_known =
        std::any_of(std::begin(measured_operations), std::end(measured_operations),
                    [&](Operation operation) { return static_cast<std::size_t>(operation) == named; });
    if (!is_known || line.library != "nccl" || line.nodes > 1) continue;
    Points& points = groups[{named, line.ranks}];
    (line.held_out ? points.held_out : points.fitted)[line.bytes] = line.seconds;
    measured.has_nvls = measured.has_nvls || line.has_nvls;
  }
  for (const auto& [key, points] : groups)
    if (points.fitted.size() > 1)
      measured.curves.push_back(curve_of(static_cast<Operation>(key.first), key.second, points));
  if (measured.curves.empty())
    device.fail("collectives", "has no times of NCCL on several GPUs of one node",
                "moesim-measure takes them where there are two or more GPUs and NCCL");
  return measured;
}

}  // namespace moesim
