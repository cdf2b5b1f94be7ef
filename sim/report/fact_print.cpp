// Values of facts as people read them.
#include <fmt/format.h>

#include <cmath>

#include "models/base/grouped.hpp"
#include "sim/report/fact.hpp"

namespace moesim {
namespace {

/// "18,943 h", "3.217 kWh": four digits, or all before the point.
std::string in_unit(double number, std::string_view unit) {
  const std::string digits = std::abs(number) < 999.95 ? fmt::format("{:.4g}", number) : grouped(number);
  return unit.empty() ? digits : fmt::format("{} {}", digits, unit);
}

}  // namespace

std::string print(const Fact& fact, const Value& value) {
  if (value.kind == Value::Kind::null) return {};
  switch (fact.unit) {
    case Unit::seconds:
      return print(WallClock{value.number});
    case Unit::bytes:
      return print(Bytes{value.integer});
    case Unit::share:
      return fmt::format("{:.{}f} %", 100 * value.number, fact.digits);
    case Unit::ratio:
      return fmt::format("{:.{}f}", value.number, fact.digits);
    case Unit::flops:
      return print(Flops{value.number});
    case Unit::teraflops:
      return print(FlopRate{value.number * 1e12});
    case Unit::joules:
      return print(Energy{value.number});
    case Unit::watts:
      return print(Power{value.number});
    case Unit::kilowatt_hours:
    case Unit::hours:
    case Unit::kilograms:
      return in_unit(value.number, unit_names[static_cast<std::size_t>(fact.unit)]);
    case Unit::money:
      return in_unit(value.number, {});
    case Unit::flag:
      return value.flag ? "yes" : "NO";
    case Unit::text:
      return value.text;
    case Unit::rows:
      return one_line(value);
    default:
      return grouped(value.number);
  }
}

std::string print(std::string_view name, const Report& report) {
  return print(fact(name), read(fact(name), report));
}

}  // namespace moesim
