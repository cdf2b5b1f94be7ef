#include "models/cluster/contention.hpp"

#include <algorithm>
#include <optional>

#include "models/base/at.hpp"
#include "models/config/fields.hpp"
#include "models/config/values.hpp"

namespace moesim {
namespace {

constexpr double most_slowdown = 1000;

std::int64_t read_held(Reader& reader, const ContentionPoint& before, std::int64_t multiprocessors) {
  return reader.integer({.name = "communication_sms",
                         .help = "multiprocessors held",
                         .at_least = before.communication_sms + 1,
                         .at_most = multiprocessors - 1});
}

/// A point of a curve that comes after `before`.
ContentionPoint read_point(Reader& reader, const ContentionPoint& before, std::int64_t multiprocessors) {
  ContentionPoint point;
  point.communication_sms = read_held(reader, before, multiprocessors);
  point.compute = reader.number({.name = "compute",
                                 .help = "time of a kernel over that on as many free multiprocessors; of "
                                         "what streams, over that on all",
                                 .at_least = before.compute,
                                 .at_most = most_slowdown});
  point.communication = reader.number({.name = "communication",
                                       .help = "time of communication over that beside nothing",
                                       .fallback = 1.0,
                                       .at_least = 1.0,
                                       .at_most = most_slowdown});
  reader.finish();
  return point;
}

/// The same of files from before there were curves by class.
ContentionPoint read_slowdown(Reader& reader, const ContentionPoint& before, std::int64_t multiprocessors) {
  ContentionPoint point;
  point.communication_sms = read_held(reader, before, multiprocessors);
  point.compute = reader.number({.name = "slowdown",
                                 .help = "time over that on as many free multiprocessors",
                                 .at_least = before.compute,
                                 .at_most = most_slowdown});
  reader.finish();
  return point;
}

ContentionCurve read_curve(std::vector<Reader> items, std::int64_t multiprocessors, auto read) {
  ContentionCurve curve;
  for (Reader& item : items)
    curve.push_back(read(item, curve.empty() ? ContentionPoint{} : curve.back(), multiprocessors));
  return curve;
}

constexpr const char* help = "how compute and communication slow each other, by multiprocessors held";

ContentionCurves read_curves(Reader& reader, std::int64_t multiprocessors) {
  ContentionCurves curves;
  constexpr std::array<std::string_view, beside_count> of{
      "beside matrix products", "beside products of several experts", "beside fused attention",
      "beside what streams memory"};
  for (std::size_t i = 0; i < beside_count; ++i)
    curves[i] = read_curve(reader.items(beside_names[i], of[i]), multiprocessors, read_point);
  return curves;
}

Contention read_all(Reader reader, std::int64_t multiprocessors) {
  Contention contention;
  contention.own = read_curves(reader, multiprocessors);
  if (std::optional<Reader> nccl = reader.optional_part("nccl", "the same curves, of NCCL's kernels")) {
    contention.nccl = read_curves(*nccl, multiprocessors);
    nccl->finish();
  }
  reader.finish();
  return contention;
}

Value value_of_curves(const ContentionCurves& curves) {
  Value object = empty_object();
  for (std::size_t i = 0; i < beside_count; ++i) {
    if (curves[i].empty()) continue;
    Value curve = empty_list();
    for (const ContentionPoint& point : curves[i]) {
      Value& item = curve.items.emplace_back(empty_object());
      item.set("communication_sms", value_of(point.communication_sms));
      item.set("compute", fitted_value(point.compute));
      item.set("communication", fitted_value(point.communication));
    }
    object.set(std::string(beside_names[i]), std::move(curve));
  }
  return object;
}

bool is_empty(const ContentionCurves& curves) {
  return std::all_of(curves.begin(), curves.end(), [](const auto& curve) { return curve.empty(); });
}

}  // namespace

const ContentionCurves& Contention::of(CommunicationKernels kernels) const {
  return kernels == CommunicationKernels::nccl && !is_empty(nccl) ? nccl : own;
}

ContentionPoint at_held(const ContentionCurve& curve, std::int64_t communication_sms) {
  ContentionPoint before{};
  if (communication_sms <= 0) return before;
  for (const ContentionPoint& point : curve) {
    if (communication_sms <= point.communication_sms) {
      const double part = static_cast<double>(communication_sms - before.communication_sms) /
                          static_cast<double>(point.communication_sms - before.communication_sms);
      return {communication_sms, before.compute + part * (point.compute - before.compute),
              before.communication + part * (point.communication - before.communication)};
    }
    before = point;
  }
  return before;
}

Contention read_contention(Reader& reader, std::int64_t multiprocessors) {
  const Value* given = reader.is_describing() ? nullptr : reader.value().find("contention");
  if (given != nullptr && given->kind == Value::Kind::list) {
    Contention contention;
    at(contention.own, Beside::products) =
        read_curve(reader.items("contention", help), multiprocessors, read_slowdown);
    at(contention.own, Beside::grouped) = at(contention.own, Beside::products);
    return contention;
  }
  std::optional<Reader> part = reader.optional_part("contention", help);
  return part ? read_all(std::move(*part), multiprocessors) : Contention{};
}

void write_contention(Value& file, const Contention& contention) {
  Value object = value_of_curves(contention.own);
  if (!is_empty(contention.nccl)) object.set("nccl", value_of_curves(contention.nccl));
  if (!object.members.empty()) file.set("contention", std::move(object));
}

constexpr std::int64_t most_multiprocessors = 100'000;

void describe_contention(Reader contention) {
  static_cast<void>(read_all(std::move(contention), most_multiprocessors));
}
void describe_nccl_contention(Reader curves) { static_cast<void>(read_curves(curves, most_multiprocessors)); }
void describe_contention_point(Reader point) {
  static_cast<void>(read_point(point, {}, most_multiprocessors));
}

}  // namespace moesim
