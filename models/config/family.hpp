// A family: one interface, several members, each an entry of name, one sentence and maker. The register of a
// family is a constant table in <family>.cpp; there is no static-initialisation order to get wrong.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/reader.hpp"

namespace moesim {

/// One member of a family.
template <class Interface>
struct Entry {
  std::string_view name;
  std::string_view sentence;
  std::unique_ptr<const Interface> (*make)(Reader& reader);
};

/// All members of a family, in the order in which they are listed.
template <class Interface>
using Register = std::span<const Entry<Interface>* const>;

template <class Interface>
std::vector<std::string_view> member_names(Register<Interface> members) {
  std::vector<std::string_view> names;
  for (const Entry<Interface>* member : members) names.push_back(member->name);
  return names;
}

/// The entry that the object's "kind" names, `fallback` where it is not given.
/// Throws InputError with the known names for an unknown one.
template <class Interface>
const Entry<Interface>& choose_member(Reader& reader, Register<Interface> members, std::string_view family,
                                      std::string_view fallback = {}) {
  const std::vector<std::string_view> names = member_names(members);
  Key<std::string> key{.name = "kind", .help = family};
  if (!fallback.empty()) key.fallback = std::string(fallback);
  return *members[reader.choice(key, names)];
}

/// Makes the member that the object's "kind" names and checks that it read every key.
template <class Interface>
std::unique_ptr<const Interface> make_member(Reader& reader, Register<Interface> members,
                                             std::string_view family, std::string_view fallback = {}) {
  std::unique_ptr<const Interface> made = choose_member(reader, members, family, fallback).make(reader);
  reader.finish();
  return made;
}

/// The keys of a member as its maker declares them.
template <class Interface>
std::vector<Declaration> describe_member(const Entry<Interface>& member) {
  std::vector<Declaration> declarations;
  Reader reader = Reader::describing(declarations);
  static_cast<void>(member.make(reader));
  return declarations;
}

}  // namespace moesim
