#include "models/config/reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/config/quantity.hpp"
#include "models/config/unknown_key.hpp"

namespace moesim {
namespace {

constexpr std::string_view always_allowed[] = {"about", "source", "sources"};

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string show(std::int64_t value) { return fmt::format("{}", value); }
std::string show(double value) { return fmt::format("{}", value); }
std::string show(bool value) { return value ? "true" : "false"; }
std::string show(const std::string& value) { return '"' + value + '"'; }
template <class Unit, class Number>
std::string show(Quantity<Unit, Number> value) {
  return '"' + print(value) + '"';
}

template <class T>
std::string show_bounds(const Key<T>& key) {
  if (key.at_least && key.at_most) return fmt::format("{} to {}", show(*key.at_least), show(*key.at_most));
  if (key.at_least) return fmt::format("at least {}", show(*key.at_least));
  if (key.at_most) return fmt::format("at most {}", show(*key.at_most));
  return {};
}

/// What reading one value came to: the value, or what is wrong with it.
template <class T>
struct Converted {
  std::optional<T> value;
  std::string problem;
};

Converted<std::int64_t> to_integer(const Value& value) {
  if (value.kind == Value::Kind::integer) return {value.integer, {}};
  if (value.kind == Value::Kind::number && std::abs(value.number) > 9.2e18)
    return {{}, "is too large, expected a whole number"};
  if (value.kind == Value::Kind::number && value.number == std::floor(value.number)) {
    return {static_cast<std::int64_t>(value.number), {}};
  }
  return {{}, "is not a whole number"};
}

Converted<double> to_number(const Value& value) {
  if (value.kind == Value::Kind::integer || value.kind == Value::Kind::number) return {value.number, {}};
  return {{}, "is not a number"};
}

Converted<std::string> to_text(const Value& value) {
  if (value.kind == Value::Kind::text) return {value.text, {}};
  return {{}, "is not a text"};
}

/// A quantity: text with a unit; `finish` turns the amount in base units into T.
template <class T, class Parse, class Finish>
auto with_unit(Parse parse, Finish finish) {
  return [=](const Value& value) -> Converted<T> {
    if (value.kind == Value::Kind::integer || value.kind == Value::Kind::number)
      return {{}, parse("1").problem};
    if (value.kind != Value::Kind::text) return {{}, parse("").problem};
    const Parsed parsed = parse(value.text);
    if (!parsed.amount) return {{}, parsed.problem};
    if (!std::isfinite(*parsed.amount)) return {{}, "is too large"};
    return finish(*parsed.amount);
  };
}

}  // namespace

std::string nearest_name(std::string_view name, std::span<const std::string> known) {
  std::string best;
  const std::size_t furthest = name.size() <= 3 ? 1 : std::max<std::size_t>(2, name.size() / 3);
  std::size_t best_distance = furthest + 1;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

Reader::Reader(const Value& value, std::string path) : value_(&value), path_(std::move(path)) {
  if (value.kind != Value::Kind::object) {
    throw InputError(where(), fmt::format("is {}, expected an object", print(value)));
  }
}

Reader Reader::describing(std::vector<Declaration>& declarations) {
  Reader reader;
  reader.declarations_ = &declarations;
  return reader;
}

Reader Reader::noting(const Value& value, std::vector<Declaration>& notes) {
  Reader reader(value, "");
  reader.notes_ = &notes;
  return reader;
}

Reader Reader::of_part(const Value& value, std::string path, std::string_view step) const {
  Reader reader(value, std::move(path));
  reader.notes_ = notes_;
  reader.noted_path_ = dotted(noted_path_, step);
  return reader;
}

std::string Reader::where(std::string_view name) const {
  std::string place = dotted(path_, name);
  std::string origin = value_ == nullptr ? "" : value_->origin;
  const Value* at = value_;
  for (std::size_t begin = 0; at != nullptr && begin < name.size();) {  // a dotted name leads through parts
    const std::size_t dot = std::min(name.find('.', begin), name.size());
    at = at->find(name.substr(begin, dot - begin));
    if (at != nullptr) origin = at->origin;
    begin = dot + 1;
  }
  if (origin.empty()) return place;
  return place.empty() ? origin : origin + ": " + place;
}

void Reader::fail(std::string_view name, const std::string& what, std::string hint) const {
  throw InputError(where(name), what, std::move(hint));
}

void Reader::expect(const Fit& fit) const {
  if (fit) fail(fit->key(), fit->what(), fit->hint());
}

void Reader::moved(std::string_view path, std::string_view to) const {
  const Value* found = value_;
  for (std::string_view rest = path; found != nullptr && !rest.empty();) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    found = found->kind == Value::Kind::object ? found->find(rest.substr(0, dot)) : nullptr;
    rest.remove_prefix(std::min(dot + 1, rest.size()));
  }
  if (found != nullptr) fail(path, fmt::format("is '{}' now", to));
}

bool Reader::has(std::string_view name) const { return value_ != nullptr && value_->find(name) != nullptr; }

const Value* Reader::take(std::string_view name) {
  known_.emplace_back(name);
  const Value* given = value_ == nullptr ? nullptr : value_->find(name);
  if (given != nullptr && given->kind == Value::Kind::null)
    fail(name, "is null, which takes an inherited key away, but none is inherited");
  return given;
}

void Reader::declare(std::string_view name, std::string_view help, std::string type, std::string fallback,
                     std::string bounds, bool required) {
  std::vector<Declaration>* const list = declarations_ != nullptr ? declarations_ : notes_;
  if (list == nullptr) return;
  list->push_back({dotted(noted_path_, name), std::string(help), std::move(type), std::move(fallback),
                   std::move(bounds), required});
}

template <class T>
void Reader::check_bounds(const Key<T>& key, const T& value) const {
  const bool low = key.at_least && value < *key.at_least;
  const bool high = key.at_most && value > *key.at_most;
  if (low || high) fail(key.name, fmt::format("is {}, expected {}", show(value), show_bounds(key)));
}

template <class T, class Convert>
T Reader::read(const Key<T>& key, std::string_view type, const T& legal, Convert convert) {
  const Value* given = take(key.name);
  const std::string fallback = key.fallback ? show(*key.fallback) : "";
  declare(key.name, key.help, std::string(type), fallback, show_bounds(key), !key.fallback);
  if (declarations_ != nullptr) return key.fallback.value_or(key.at_least.value_or(legal));
  if (given == nullptr) {
    if (!key.fallback) fail(key.name, fmt::format("is missing, expected {} ({})", type, key.help));
    return *key.fallback;
  }
  const Converted<T> converted = convert(*given);
  if (!converted.value) fail(key.name, fmt::format("{} {}", print(*given), converted.problem));
  check_bounds(key, *converted.value);
  return *converted.value;
}

template <class T, class Convert>
std::vector<T> Reader::read_list(const Key<T>& key, std::string_view type, Convert convert) {
  const Value* given = take(key.name);
  declare(key.name, key.help, std::string(type), "[]", show_bounds(key), false);
  if (given == nullptr) return {};
  if (given->kind != Value::Kind::list) fail(key.name, fmt::format("{} is not a list", print(*given)));
  std::vector<T> list;
  for (const Value& item : given->items) {
    const Converted<T> converted = convert(item);
    if (!converted.value) fail(key.name, fmt::format("holds {}, which {}", print(item), converted.problem));
    check_bounds(key, *converted.value);
    list.push_back(*converted.value);
  }
  return list;
}

std::int64_t Reader::integer(const Key<std::int64_t>& key) {
  return read<std::int64_t>(key, "a whole number", 1, to_integer);
}

double Reader::number(const Key<double>& key) { return read<double>(key, "a number", 1, to_number); }

bool Reader::flag(const Key<bool>& key) {
  return read<bool>(key, "true or false", false, [](const Value& value) -> Converted<bool> {
    if (value.kind == Value::Kind::boolean) return {value.flag, {}};
    return {{}, "is not true or false"};
  });
}

std::string Reader::text(const Key<std::string>& key) {
  return read<std::string>(key, "a text", "", to_text);
}

Time Reader::time(const Key<Time>& key) {
  return read<Time>(key, "a time", Time{1},
                    with_unit<Time>(parse_time, [](double seconds) -> Converted<Time> {
                      if (seconds < 0) return {{}, "is negative"};
                      if (seconds > to_seconds(longest_time))
                        return {{}, fmt::format("is too large, expected at most {} days", longest_days)};
                      return {from_seconds(seconds), {}};
                    }));
}

WallClock Reader::wall_clock(const Key<WallClock>& key) {
  return read<WallClock>(key, "a time", WallClock{1},
                         with_unit<WallClock>(parse_time, [](double seconds) -> Converted<WallClock> {
                           if (seconds < 0) return {{}, "is negative"};
                           return {WallClock{seconds}, {}};
                         }));
}

Bytes Reader::bytes(const Key<Bytes>& key) {
  return read<Bytes>(key, "a size", Bytes{1},
                     with_unit<Bytes>(parse_bytes, [](double amount) -> Converted<Bytes> {
                       if (amount < 0) return {{}, "is negative"};
                       if (amount > 9.2e18) return {{}, "is too large, expected at most 9.2 EB"};
                       return {Bytes{std::llround(amount)}, {}};
                     }));
}

Rate Reader::rate(const Key<Rate>& key) {
  return read<Rate>(key, "a rate", Rate{1}, with_unit<Rate>(parse_rate, [](double amount) -> Converted<Rate> {
                      if (amount <= 0) return {{}, "is not above zero"};
                      return {Rate{amount}, {}};
                    }));
}

FlopRate Reader::flop_rate(const Key<FlopRate>& key) {
  return read<FlopRate>(key, "a compute rate", FlopRate{1},
                        with_unit<FlopRate>(parse_flop_rate, [](double amount) -> Converted<FlopRate> {
                          if (amount <= 0) return {{}, "is not above zero"};
                          return {FlopRate{amount}, {}};
                        }));
}

Power Reader::power(const Key<Power>& key) {
  return read<Power>(key, "a power", Power{1},
                     with_unit<Power>(parse_power, [](double amount) -> Converted<Power> {
                       if (amount < 0) return {{}, "is negative"};
                       return {Power{amount}, {}};
                     }));
}

Energy Reader::energy(const Key<Energy>& key) {
  return read<Energy>(key, "an energy", Energy{1},
                      with_unit<Energy>(parse_energy, [](double amount) -> Converted<Energy> {
                        if (amount < 0) return {{}, "is negative"};
                        return {Energy{amount}, {}};
                      }));
}

std::vector<std::int64_t> Reader::integers(const Key<std::int64_t>& key) {
  return read_list<std::int64_t>(key, "a list of whole numbers", to_integer);
}

std::vector<double> Reader::numbers(const Key<double>& key) {
  return read_list<double>(key, "a list of numbers", to_number);
}

std::vector<std::string> Reader::texts(const Key<std::string>& key) {
  if (has(key.name) && value_->find(key.name)->kind == Value::Kind::text) return {text(key)};
  return read_list<std::string>(key, "a list of texts", to_text);
}

std::size_t Reader::choice(const Key<std::string>& key, std::span<const std::string_view> names) {
  const std::string type = fmt::format("one of {}", fmt::join(names, ", "));
  const auto to_name = [&](const Value& value) -> Converted<std::string> {
    if (value.kind == Value::Kind::text) return {value.text, {}};
    return {{}, "is not " + type};
  };
  const std::string given = read<std::string>(key, type, std::string(names.front()), to_name);
  const auto found = std::find(names.begin(), names.end(), given);
  if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  const std::vector<std::string> known(names.begin(), names.end());
  const std::string near = nearest_name(given, known);
  fail(key.name, fmt::format("unknown '{}' (known: {}{})", given, fmt::join(names, ", "),
                             near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
}

std::optional<Reader> Reader::optional_part(std::string_view name, std::string_view help,
                                            std::span<const std::string_view> kinds) {
  const Value* given = take(name);
  declare(name, help, "an object or a file name", "", "", false);
  if (given == nullptr) return std::nullopt;
  if (given->kind == Value::Kind::object) return of_part(*given, dotted(path_, name), name);
  if (given->kind != Value::Kind::text)
    fail(name, fmt::format("{} is neither an object nor a file name", print(*given)));
  std::string file;
  try {
    file = find_beside(given->text, given->origin);
  } catch (const InputError&) {
    const std::vector<std::string> known(kinds.begin(), kinds.end());
    const std::string near = nearest_name(given->text, known);
    fail(name, fmt::format("'{}' is no file here or in a folder above, nor an object", given->text),
         near.empty() ? "" : fmt::format("did you mean {}.kind={}?", dotted(path_, name), near));
  }
  auto opened = std::make_unique<Value>(load_document(file));
  Reader reader = of_part(*opened, "", name);
  reader.owned_ = std::move(opened);
  return reader;
}

Reader Reader::part(std::string_view name, std::string_view help, std::span<const std::string_view> kinds) {
  if (declarations_ != nullptr) {
    declare(name, help, "an object or a file name", "", "", true);
    Reader nested;
    nested.discarded_ = std::make_unique<std::vector<Declaration>>();
    nested.declarations_ = nested.discarded_.get();
    return nested;
  }
  std::optional<Reader> reader = optional_part(name, help, kinds);
  if (!reader) fail(name, fmt::format("is missing, expected an object or a file name ({})", help));
  return std::move(*reader);
}

std::vector<Reader> Reader::items(std::string_view name, std::string_view help) {
  const Value* given = take(name);
  declare(name, help, "a list of objects", "[]", "", false);
  std::vector<Reader> readers;
  if (given == nullptr) return readers;
  if (given->kind != Value::Kind::list) fail(name, fmt::format("{} is not a list", print(*given)));
  for (std::size_t i = 0; i < given->items.size(); ++i) {
    const std::string item = fmt::format("{}.{}", name, i);
    readers.push_back(of_part(given->items[i], dotted(path_, item), item));
  }
  return readers;
}

const Value* Reader::raw(std::string_view name, std::string_view help) {
  const Value* given = take(name);
  declare(name, help, "any", "", "", false);
  return given;
}

void Reader::finish() const {
  if (value_ == nullptr) return;
  for (const auto& [name, member] : value_->members) {
    const bool allowed =
        std::find(std::begin(always_allowed), std::end(always_allowed), name) != std::end(always_allowed);
    if (allowed || std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    std::vector<std::string> known = known_;
    std::sort(known.begin(), known.end());
    known.erase(std::unique(known.begin(), known.end()), known.end());
    const std::string near = nearest_name(name, known);
    const std::string listed = known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "));
    throw UnknownKey(where(name), fmt::format("unknown key (known: {}{})", listed,
                                              near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
  }
}

}  // namespace moesim
