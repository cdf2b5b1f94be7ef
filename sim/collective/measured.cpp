#include "sim/collective/measured.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/config/values.hpp"

namespace moesim {
namespace {

/// The names of the measured operations, in their order.
std::vector<std::string_view> measured_names() {
  std::vector<std::string_view> names;
  for (const Operation operation : measured_operations) names.push_back(at(operation_names, operation));
  return names;
}

/// Times on links of `rate` cannot be shorter than the bytes are under way.
void check_curve(const Reader& reader, const TimeCurve& curve, Rate rate) {
  if (curve.bytes.size() != curve.seconds.size() || curve.bytes.size() < 2)
    reader.fail("time_s", fmt::format("holds {} times for {} sizes, expected as many, and two at least",
                                      curve.seconds.size(), curve.bytes.size()));
  for (std::size_t i = 0; i < curve.bytes.size(); ++i) {
    if (i > 0 && curve.bytes[i] <= curve.bytes[i - 1])
      reader.fail("bytes", fmt::format("holds {} after {}, expected rising sizes", curve.bytes[i],
                                       curve.bytes[i - 1]));
    if (i > 0 && curve.seconds[i] < curve.seconds[i - 1])
      reader.fail("time_s", fmt::format("holds {} after {}, expected times that never fall", curve.seconds[i],
                                        curve.seconds[i - 1]));
    const double least = curve.bytes[i] * sent_share(curve.operation, curve.ranks) / rate.count;
    if (curve.seconds[i] < least)
      reader.fail("time_s", fmt::format("holds {} s for {} bytes, but links of {} take {:.3g} s",
                                        curve.seconds[i], curve.bytes[i], print(rate), least));
  }
}

TimeCurve read_curve(Reader& reader, Rate rate) {
  TimeCurve curve;
  const std::vector<std::string_view> names = measured_names();
  curve.operation = at(measured_operations,
                       reader.choice({.name = "operation", .help = "what the ranks do together"}, names));
  curve.ranks = reader.integer({.name = "ranks", .help = "of the group", .at_least = 2});
  curve.bytes = reader.numbers({.name = "bytes", .help = "of a rank's whole buffer", .at_least = 1.0});
  curve.seconds = reader.numbers({.name = "time_s", .help = "of each size", .at_least = 1e-9});
  if (std::optional<Reader> errors = reader.optional_part("held_out", "errors on sizes between them"))
    curve.held_out = read_errors(std::move(*errors));
  reader.finish();
  check_curve(reader, curve, rate);
  return curve;
}

std::string list_text(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text += fmt::format("{}{:.6g}", text.empty() ? "" : ", ", value);
  return "[" + text + "]";
}

std::string sizes_text(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text += fmt::format("{}{:.0f}", text.empty() ? "" : ", ", value);
  return "[" + text + "]";
}

std::string curve_text(const TimeCurve& curve) {
  const std::string held =
      curve.held_out.shapes > 0 ? ", \"held_out\": " + write_errors(curve.held_out) : std::string();
  return fmt::format(R"({{"operation": "{}", "ranks": {}, "bytes": {}, "time_s": {}{}}})",
                     at(operation_names, curve.operation), curve.ranks, sizes_text(curve.bytes),
                     list_text(curve.seconds), held);
}

/// What a curve says of another number of ranks.
double translated(const TimeCurve& curve, std::int64_t ranks, double bytes, const PassageLaw& law) {
  const double startup = curve.seconds.front(), beyond = curve.at(bytes) - startup;
  if (ranks == curve.ranks) return startup + beyond;
  const auto least = [&](std::int64_t of) {
    const Passage passage = law(of, curve.bytes.front());
    return passage.startup + passage.seconds;
  };
  const double most = curve.bytes.back();
  return startup * least(ranks) / least(curve.ranks) +
         beyond * law(ranks, most).seconds / law(curve.ranks, most).seconds;
}

/// The curves of the nearest numbers of ranks that are no more, and no fewer.
struct Neighbours {
  const TimeCurve *below = nullptr, *above = nullptr;
  const TimeCurve& any() const { return below != nullptr ? *below : *above; }

  double seconds(std::int64_t ranks, double bytes, const PassageLaw& law) const {
    const double there = translated(any(), ranks, bytes, law);
    if (below == nullptr || above == nullptr || below == above) return there;
    const double share = std::log(static_cast<double>(ranks) / static_cast<double>(below->ranks)) /
                         std::log(static_cast<double>(above->ranks) / static_cast<double>(below->ranks));
    return there * std::pow(translated(*above, ranks, bytes, law) / there, share);
  }
};

Neighbours neighbours_of(const std::vector<TimeCurve>& curves, Operation operation, std::int64_t ranks) {
  Neighbours found;
  for (const TimeCurve& curve : curves) {
    if (curve.operation != operation) continue;
    if (curve.ranks <= ranks && (found.below == nullptr || curve.ranks > found.below->ranks))
      found.below = &curve;
    if (curve.ranks >= ranks && (found.above == nullptr || curve.ranks < found.above->ranks))
      found.above = &curve;
  }
  return found;
}

}  // namespace

double sent_share(Operation operation, std::int64_t ranks) {
  const auto n = static_cast<double>(ranks);
  return (operation == Operation::all_reduce ? 2 : 1) * (n - 1) / n;
}

double TimeCurve::at(double size) const {
  if (size <= bytes.front()) return seconds.front();
  const auto above = std::upper_bound(bytes.begin(), bytes.end(), size);
  const auto i = static_cast<std::size_t>(std::min(above, bytes.end() - 1) - bytes.begin());
  if (size > bytes.back()) {
    const double per_byte = (seconds[i] - seconds[i - 1]) / (bytes[i] - bytes[i - 1]);
    return seconds.back() + (size - bytes.back()) * per_byte;
  }
  const double share = std::log(size / bytes[i - 1]) / std::log(bytes[i] / bytes[i - 1]);
  return seconds[i - 1] * std::pow(seconds[i] / seconds[i - 1], share);
}

const TimeCurve* MeasuredCollectives::find(Operation operation, std::int64_t ranks) const {
  for (const TimeCurve& curve : curves)
    if (curve.operation == operation && curve.ranks == ranks) return &curve;
  return nullptr;
}

bool MeasuredCollectives::has(Operation operation) const {
  return std::any_of(curves.begin(), curves.end(),
                     [&](const TimeCurve& curve) { return curve.operation == operation; });
}

std::optional<Passage> MeasuredCollectives::passage(Operation operation, std::int64_t ranks, double bytes,
                                                    const PassageLaw& law) const {
  if (bytes <= 0 || !has(operation)) return std::nullopt;
  const Neighbours near = neighbours_of(curves, operation, ranks);
  const auto at_full_rate = [&](double size) {
    return size * sent_share(operation, ranks) / link_rate.count;
  };
  const double whole = std::max(at_full_rate(bytes), near.seconds(ranks, bytes, law));
  const double startup = near.seconds(ranks, near.any().bytes.front(), law);
  const double most = near.any().bytes.back(), beyond = near.seconds(ranks, most, law) - startup;
  // Bytes flow as fast as those of the largest size, or more slowly: the rest is start-up.
  const double fastest = std::max(1.0, beyond / at_full_rate(most)) * at_full_rate(bytes);
  const double seconds = std::min(whole, std::max(whole - startup, fastest));
  return Passage{.startup = whole - seconds, .seconds = seconds};
}

MeasuredCollectives read_measured_collectives(Reader& reader) {
  MeasuredCollectives measured;
  const std::string schema = reader.text({.name = "schema", .help = "which kind of file this is"});
  if (schema != collectives_schema && !reader.is_describing())
    reader.fail("schema", fmt::format("is '{}', expected '{}'", schema, collectives_schema),
                "moesim calibrate --collectives FILE writes it where there are two or more GPUs");
  if (const Value* about = reader.raw("measured", "device, versions, date")) measured.about = *about;
  measured.link_rate = reader.rate(
      {.name = "link_rate", .help = "what the file of the measured cluster says of a device's link"});
  measured.has_nvls =
      reader.flag({.name = "nvls", .help = "whether all-reduces were free to run in NVSwitch"});
  for (Reader& item : reader.items("curves", "times by size, for each operation and number of ranks")) {
    measured.curves.push_back(read_curve(item, measured.link_rate));
    const TimeCurve& newest = measured.curves.back();
    if (measured.find(newest.operation, newest.ranks) != &newest)
      item.fail("ranks", fmt::format("is {} of {} twice", newest.ranks,
                                     moesim::at(operation_names, newest.operation)));
  }
  if (measured.curves.empty() && !reader.is_describing())
    reader.fail("curves", "is missing or empty, expected times of collectives");
  reader.finish();
  return measured;
}

std::string write_measured_collectives(const MeasuredCollectives& measured) {
  std::string curves;
  for (const TimeCurve& curve : measured.curves)
    curves += (curves.empty() ? "\n    " : ",\n    ") + curve_text(curve);
  return fmt::format(
      "{{\n  \"schema\": \"{}\",\n  \"measured\": {},\n  \"link_rate\": \"{}\",\n  \"nvls\": {},\n"
      "  \"curves\": [{}\n  ]\n}}\n",
      collectives_schema, one_line(measured.about), print(measured.link_rate), measured.has_nvls, curves);
}

}  // namespace moesim
