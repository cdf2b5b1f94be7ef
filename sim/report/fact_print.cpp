// Values of facts as people read them.
#include <fmt/format.h>

#include "models/base/grouped.hpp"
#include "sim/report/fact.hpp"

namespace moesim {

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
