#include "models/config/document.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "models/base/error.hpp"
#include "models/base/file.hpp"

namespace moesim {
namespace {

namespace fs = std::filesystem;

/// Files while a document is loaded.
struct Files {
  std::vector<std::string> open;  ///< from the document to the file that is read now: identities
  std::vector<std::string> read;  ///< all so far
};

Value load_file(const std::string& path, Files& files);

/// "a.json: b.c", of a member at a path.
std::string place_of(const Value& member, const std::string& path) {
  return member.origin.empty() ? path : member.origin + ": " + path;
}

/// The child over the parent: objects merge member by member, a null takes a member away (RFC 7396),
/// everything else is replaced. `path` is that of both.
void merge(Value& parent, Value child, const std::string& path) {
  if (parent.kind != Value::Kind::object || child.kind != Value::Kind::object) {
    parent = std::move(child);
    return;
  }
  // Another kind is another part: keys of the old kind mean nothing to it.
  const Value* old_kind = parent.find("kind");
  const Value* new_kind = child.find("kind");
  if (old_kind != nullptr && new_kind != nullptr && !same(*old_kind, *new_kind)) {
    parent = std::move(child);
    return;
  }
  parent.origin = child.origin;
  for (auto& [name, member] : child.members) {
    Value* known = parent.find(name);
    const std::string where = dotted(path, name);
    if (member.kind == Value::Kind::null) {
      if (known == nullptr)
        throw InputError(place_of(member, where), "is null, but there is no such key to take away");
      std::erase_if(parent.members, [&key = name](const auto& one) { return one.first == key; });
    } else if (known != nullptr) {
      merge(*known, std::move(member), where);
    } else {
      parent.members.emplace_back(name, std::move(member));
    }
  }
}

/// One name for one file, however it is spelled.
std::string identity(const std::string& path) {
  std::error_code ignored;
  const fs::path canonical = fs::weakly_canonical(path, ignored);
  return (canonical.empty() ? fs::path(path) : canonical).lexically_normal().string();
}

/// "a.json -> b.json -> a.json", of the files that are open.
std::string print_circle(const std::vector<std::string>& open, const std::string& name) {
  std::string circle;
  for (auto file = std::find(open.begin(), open.end(), name); file != open.end(); ++file) {
    circle += fs::path(*file).filename().string() + " -> ";
  }
  return circle + fs::path(name).filename().string();
}

/// Replaces each object that has "extends" by what it extends with its own members over it.
void follow_extends(Value& value, Files& files) {
  for (Value& item : value.items) follow_extends(item, files);
  for (auto& [name, member] : value.members) follow_extends(member, files);
  const Value* extends = value.find("extends");
  if (extends == nullptr) return;
  if (extends->kind != Value::Kind::text) {
    throw InputError(value.origin + ": extends", fmt::format("is {}, expected a file name", print(*extends)));
  }
  Value parent = load_file(find_beside(extends->text, value.origin), files);
  if (parent.kind != Value::Kind::object) throw InputError(value.origin + ": extends", "leads to no object");
  std::erase_if(value.members, [](const auto& member) { return member.first == "extends"; });
  merge(parent, std::move(value), "");
  value = std::move(parent);
}

Value load_file(const std::string& path, Files& files) {
  const std::string name = path == "-" ? path : identity(path);
  if (std::find(files.open.begin(), files.open.end(), name) != files.open.end()) {
    throw InputError(path + ": extends", "leads in a circle: " + print_circle(files.open, name));
  }
  files.open.push_back(name);
  files.read.push_back(path);
  Value value = parse_json(read_file(path), path == "-" ? "standard input" : path);
  follow_extends(value, files);
  files.open.pop_back();
  return value;
}

/// "--set schedule.kind", or another option that the value came by.
std::string name_of(const Override& change) {
  const bool is_option = change.value.origin.starts_with("--");
  return (is_option ? change.value.origin : std::string("--set")) + " " + change.key;
}

std::string origin_of(const Override& change) {
  return change.value.origin.empty() ? "--set" : change.value.origin;
}

Value* list_item(Value& list, const std::string& step, const std::string& place) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
  if (error != std::errc() || end != step.data() + step.size() || index >= list.items.size()) {
    throw InputError(place, fmt::format("'{}' is no item of a list of {}", step, list.items.size()));
  }
  return &list.items[index];
}

/// The value one step down a dotted path, made an object or opened from its file where need be.
Value* descend(Value& value, const std::string& step, const Override& change, Files& files) {
  const std::string place = name_of(change);
  if (value.kind == Value::Kind::list) return list_item(value, step, place);
  if (value.kind == Value::Kind::text && value.text.find(".json") != std::string::npos) {
    value = load_file(find_beside(value.text, value.origin), files);
  }
  if (value.kind == Value::Kind::null) value.kind = Value::Kind::object;
  if (value.kind != Value::Kind::object) {
    throw InputError(place, fmt::format("'{}' leads through {}, which has no keys", step, print(value)));
  }
  const bool takes_away = change.value.kind == Value::Kind::null;
  if (value.find(step) == nullptr && takes_away)
    throw InputError(place, fmt::format("is null, but there is no key '{}' to take away", step));
  if (value.find(step) == nullptr) value.members.emplace_back(step, Value{.origin = origin_of(change)});
  return value.find(step);
}

void take_away(Value& owner, const std::string& name, const Override& change) {
  if (owner.kind != Value::Kind::object)
    throw InputError(name_of(change), fmt::format("is null, but '{}' is no key to take away", name));
  std::erase_if(owner.members, [&](const auto& member) { return member.first == name; });
}

void apply(Value& document, const Override& change, Files& files) {
  Value* owner = nullptr;
  Value* place = &document;
  std::string step;
  for (std::size_t begin = 0; begin <= change.key.size();) {
    const std::size_t dot = std::min(change.key.find('.', begin), change.key.size());
    step = change.key.substr(begin, dot - begin);
    if (step.empty())
      throw InputError(name_of(change), "has an empty step, expected a path as schedule.kind");
    owner = place;
    place = descend(*place, step, change, files);
    begin = dot + 1;
  }
  if (change.value.kind == Value::Kind::null) return take_away(*owner, step, change);
  // The kind of a part decides which keys it has: another kind starts from its defaults.
  const bool had_one = place->kind != Value::Kind::null;
  if (change.key.ends_with(".kind") && had_one && !same(*place, change.value)) {
    Value fresh{.kind = Value::Kind::object, .origin = origin_of(change)};
    fresh.set("kind", change.value);
    *owner = std::move(fresh);
    return;
  }
  *place = change.value;
}

Value finish(Value document, const std::vector<Override>& overrides, Files files) {
  files.open.clear();
  if (document.kind != Value::Kind::object) {
    throw InputError(document.origin, fmt::format("holds {}, expected an object", kind_name(document.kind)));
  }
  // A part before its keys and a kind before its siblings, which are meant for the new part or kind.
  const auto rank = [](const Override& change) {
    const auto depth = std::count(change.key.begin(), change.key.end(), '.');
    return std::pair(depth, !change.key.ends_with(".kind"));
  };
  std::vector<Override> ordered = overrides;
  std::stable_sort(ordered.begin(), ordered.end(),
                   [&](const Override& a, const Override& b) { return rank(a) < rank(b); });
  for (const Override& change : ordered) apply(document, change, files);
  document.files = std::move(files.read);
  return document;
}

/// Free text, which may end like the name of a file.
constexpr std::string_view words[] = {"about", "source", "sources", "name"};

/// Of a part that names a file: where that lies, of data, or what it holds.
void open_file(Value& part, bool is_data) {
  const std::string file = find_beside(part.text, part.origin);
  if (is_data)
    part.text = file;
  else
    part = load_document(file);
}

void open_parts(Value& value, DataFiles data) {
  for (auto& [name, part] : value.members) {
    if (std::find(std::begin(words), std::end(words), name) != std::end(words)) continue;
    const bool is_data = data == DataFiles::named && (name == "file" || name == "table");
    const bool is_file = part.kind == Value::Kind::text && (is_data || part.text.ends_with(".json"));
    try {
      if (is_file) open_file(part, is_data);
    } catch (const InputError&) {  // a run says what is wrong with it
    }
    open_parts(part, data);
  }
  for (Value& item : value.items) open_parts(item, data);
}

bool is_of_command_line(const Value& value) { return value.origin.starts_with("--"); }

/// "schedule.kind=gpipe" of each value that the command line set.
void list_changes(const Value& value, const std::string& path, std::vector<std::string>& changes) {
  if (!value.members.empty()) {
    for (const auto& [name, member] : value.members) list_changes(member, dotted(path, name), changes);
  } else if (is_of_command_line(value)) {
    changes.push_back(
        fmt::format("{}={}", path, value.kind == Value::Kind::text ? value.text : print(value)));
  } else {
    for (std::size_t i = 0; i < value.items.size(); ++i)
      list_changes(value.items[i], fmt::format("{}.{}", path, i), changes);
  }
}

}  // namespace

Override parse_override(std::string_view argument) {
  const std::size_t equals = argument.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw InputError("--set " + std::string(argument), "expected KEY=VALUE, as --set schedule.kind=gpipe");
  }
  const std::string text(argument.substr(equals + 1));
  Override change{.key = std::string(argument.substr(0, equals)), .value = {}};
  try {
    change.value = parse_json(text, "--set");
  } catch (const InputError&) {
    change.value.kind = Value::Kind::text;
    change.value.text = text;
  }
  change.value.origin = "--set";
  return change;
}

void apply_override(Value& document, const Override& change) {
  Files files;
  apply(document, change, files);
  document.files.insert(document.files.end(), files.read.begin(), files.read.end());
}

Value load_document(const std::string& path, const std::vector<Override>& overrides) {
  Files files;
  Value document = load_file(path, files);
  return finish(std::move(document), overrides, std::move(files));
}

Value load_document_text(const std::string& text, const std::string& origin,
                         const std::vector<Override>& overrides) {
  // The text stands for the file of that name.
  Files files{.open = {identity(origin)}, .read = {origin == "standard input" ? "-" : origin}};
  Value document = parse_json(text, origin);
  follow_extends(document, files);
  return finish(std::move(document), overrides, std::move(files));
}

Value whole_document(Value document, DataFiles data) {
  open_parts(document, data);
  return document;
}

std::string title_of(const Value& document) {
  const Value* about = document.find("about");
  std::string title = about != nullptr ? about->text : std::string();
  if (about != nullptr && is_of_command_line(*about)) return title;
  std::vector<std::string> changes;
  list_changes(document, {}, changes);
  if (changes.empty()) return title;
  return fmt::format("{}with {}", title.empty() ? "" : title + ", ", fmt::join(changes, ", "));
}

std::string find_beside(const std::string& name, const std::string& origin) {
  if (fs::path(name).is_absolute()) return name;
  const auto search_up = [&](fs::path folder) -> std::string {
    while (true) {
      const fs::path candidate = folder / name;
      std::error_code ignored;
      if (fs::exists(candidate, ignored)) return candidate.lexically_normal().string();
      if (folder.empty() || folder == folder.root_path()) return {};
      folder = folder.has_parent_path() ? folder.parent_path() : fs::path();
    }
  };
  const fs::path beside = fs::path(origin).parent_path();
  for (const fs::path& start : {beside, fs::absolute(beside.empty() ? "." : beside), fs::current_path()}) {
    if (std::string found = search_up(start); !found.empty()) return found;
  }
  throw InputError(origin,
                   fmt::format("names the file '{}', which is not beside it or in a folder above", name));
}

}  // namespace moesim
