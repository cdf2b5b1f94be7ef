// The keys of an object as a table: one row a key, with the member that it sets. One function reads any
// table, another writes what of it is fitted.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "models/config/reader.hpp"

namespace moesim {

/// A key and the member that it sets: a pointer to it, or a function that returns a reference to it.
template <class Member, class T>
struct Field {
  Member member;
  Key<T> key;
  bool is_fitted = false;  ///< what a calibration writes
};

/// A key whose being given says something by itself: `given` is set to that.
template <class Given, class Member, class T>
struct GivenField {
  Given given;
  Field<Member, T> field;
};

/// A key that is one of `names`, and the member of an enumeration that has them in this order.
template <class Member>
struct ChoiceField {
  Member member;
  Key<std::string> key;
  std::span<const std::string_view> names;
};

template <class Owner, class T>
auto field(T Owner::*member, const Key<std::type_identity_t<T>>& key) {
  return Field<T Owner::*, T>{member, key};
}

/// Of a part of the object that is read.
template <class Owner, class Part, class T>
auto field(Part Owner::*part, T Part::*member, const Key<std::type_identity_t<T>>& key) {
  const auto inside = [part, member](Owner& owner) -> T& { return owner.*part.*member; };
  return Field<decltype(inside), T>{inside, key};
}

/// What a calibration writes back.
template <class Owner, class T>
auto fitted(T Owner::*member, const Key<std::type_identity_t<T>>& key) {
  return Field<T Owner::*, T>{member, key, true};
}

/// The same where it is given only.
template <class Owner, class T>
auto fitted(bool Owner::*given, T Owner::*member, const Key<std::type_identity_t<T>>& key) {
  return GivenField<bool Owner::*, T Owner::*, T>{given, fitted(member, key)};
}

template <class Owner, class T>
auto choice(T Owner::*member, std::span<const std::string_view> names, const Key<std::string>& key) {
  return ChoiceField<T Owner::*>{member, key, names};
}

template <class Owner, class Part, class T>
auto choice(Part Owner::*part, T Part::*member, std::span<const std::string_view> names,
            const Key<std::string>& key) {
  const auto inside = [part, member](Owner& owner) -> T& { return owner.*part.*member; };
  return ChoiceField<decltype(inside)>{inside, key, names};
}

inline std::int64_t read_key(Reader& reader, const Key<std::int64_t>& key) { return reader.integer(key); }
inline double read_key(Reader& reader, const Key<double>& key) { return reader.number(key); }
inline bool read_key(Reader& reader, const Key<bool>& key) { return reader.flag(key); }
inline std::string read_key(Reader& reader, const Key<std::string>& key) { return reader.text(key); }
inline Time read_key(Reader& reader, const Key<Time>& key) { return reader.time(key); }
inline WallClock read_key(Reader& reader, const Key<WallClock>& key) { return reader.wall_clock(key); }
inline Bytes read_key(Reader& reader, const Key<Bytes>& key) { return reader.bytes(key); }
inline Rate read_key(Reader& reader, const Key<Rate>& key) { return reader.rate(key); }
inline FlopRate read_key(Reader& reader, const Key<FlopRate>& key) { return reader.flop_rate(key); }
inline Power read_key(Reader& reader, const Key<Power>& key) { return reader.power(key); }
inline Energy read_key(Reader& reader, const Key<Energy>& key) { return reader.energy(key); }

template <class Owner, class Member, class T>
void read_field(Reader& reader, Owner& owner, const Field<Member, T>& field) {
  std::invoke(field.member, owner) = read_key(reader, field.key);
}

template <class Owner, class Given, class Member, class T>
void read_field(Reader& reader, Owner& owner, const GivenField<Given, Member, T>& row) {
  std::invoke(row.given, owner) = reader.has(row.field.key.name);
  read_field(reader, owner, row.field);
}

template <class Owner, class Member>
void read_field(Reader& reader, Owner& owner, const ChoiceField<Member>& field) {
  auto& value = std::invoke(field.member, owner);
  value = static_cast<std::remove_reference_t<decltype(value)>>(reader.choice(field.key, field.names));
}

/// Reads the keys of a table, in its order.
template <class Owner, class... Fields>
void read_fields(Reader& reader, Owner& owner, const Fields&... fields) {
  (read_field(reader, owner, fields), ...);
}
template <class Owner, class... Fields>
void read_fields(Reader& reader, Owner& owner, const std::tuple<Fields...>& table) {
  std::apply([&](const Fields&... fields) { read_fields(reader, owner, fields...); }, table);
}

/// Six digits: what a fit knows.
Value fitted_value(double ratio);
Value fitted_value(Time time);
Value fitted_value(Rate rate);
Value fitted_value(Power power);
Value fitted_value(Energy energy);

template <class Owner, class Member, class T>
void write_field(Value& object, const Owner& owner, const Field<Member, T>& field) {
  if constexpr (std::is_same_v<T, double> || std::is_same_v<T, Time> || std::is_same_v<T, Rate> ||
                std::is_same_v<T, Power> || std::is_same_v<T, Energy>) {
    if (field.is_fitted) object.set(field.key.name, fitted_value(std::invoke(field.member, owner)));
  }
}

template <class Owner, class Given, class Member, class T>
void write_field(Value& object, const Owner& owner, const GivenField<Given, Member, T>& row) {
  if (std::invoke(row.given, owner)) write_field(object, owner, row.field);
}

template <class Owner, class Member>
void write_field(Value&, const Owner&, const ChoiceField<Member>&) {}  // chosen, not fitted

/// Sets what of a table is fitted, and leaves the rest of the object as it is.
template <class Owner, class... Fields>
void write_fitted(Value& object, const Owner& owner, const std::tuple<Fields...>& table) {
  std::apply([&](const Fields&... fields) { (write_field(object, owner, fields), ...); }, table);
}

}  // namespace moesim
