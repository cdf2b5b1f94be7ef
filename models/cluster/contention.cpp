#include "models/cluster/contention.hpp"

#include <optional>

#include "models/base/at.hpp"
#include "models/config/fields.hpp"
#include "models/config/values.hpp"

namespace moesim {
namespace {

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
                                 .at_least = before.compute});
  point.communication = reader.number({.name = "communication",
                                       .help = "time of communication over that beside nothing",
                                       .fallback = 1.0,
                                       .at_least = 1.0});
  reader.finish();
  return point;
}

/// The same of files from before there were curves by class.
ContentionPoint read_slowdown(Reader& reader, const ContentionPoint& before, std::int64_t multiprocessors) {
  ContentionPoint point;
  point.communication_sms = read_held(reader, before, multiprocessors);
  point.compute = reader.number({.name = "slowdown",
                                 .help = "time over that on as many free multiprocessors",
                                 .at_least = before.compute});
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

Contention read_curves(Reader reader, std::int64_t multiprocessors) {
  Contention contention;
  constexpr std::array<std::string_view, beside_count> of{
      "beside matrix products", "beside products of several experts", "beside fused attention",
      "beside what streams memory"};
  for (std::size_t i = 0; i < beside_count; ++i)
    contention[i] = read_curve(reader.items(beside_names[i], of[i]), multiprocessors, read_point);
  reader.finish();
  return contention;
}

}  // namespace

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
    at(contention, Beside::products) =
        read_curve(reader.items("contention", help), multiprocessors, read_slowdown);
    at(contention, Beside::grouped) = at(contention, Beside::products);
    return contention;
  }
  std::optional<Reader> curves = reader.optional_part("contention", help);
  return curves ? read_curves(std::move(*curves), multiprocessors) : Contention{};
}

void write_contention(Value& file, const Contention& contention) {
  Value curves = empty_object();
  for (std::size_t i = 0; i < beside_count; ++i) {
    if (contention[i].empty()) continue;
    Value curve = empty_list();
    for (const ContentionPoint& point : contention[i]) {
      Value& item = curve.items.emplace_back(empty_object());
      item.set("communication_sms", value_of(point.communication_sms));
      item.set("compute", fitted_value(point.compute));
      item.set("communication", fitted_value(point.communication));
    }
    curves.set(std::string(beside_names[i]), std::move(curve));
  }
  if (!curves.members.empty()) file.set("contention", std::move(curves));
}

void describe_contention(Reader curves) { static_cast<void>(read_curves(std::move(curves), 100'000)); }
void describe_contention_point(Reader point) { static_cast<void>(read_point(point, {}, 100'000)); }

}  // namespace moesim
