// No key is read in vain: far from its value it changes what a run or a search comes to, or is refused. And a
// default that is written out is the same scenario.
//
// tests/property/keys/keys.json has the scenarios that these laws are held to. Who adds a key finds its name
// in a failure here: a scenario must reach it, a key that is a list or a text needs values to try, and where
// it cannot count by its meaning, "idle" says why.
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "models/base/file.hpp"
#include "models/base/text.hpp"
#include "tests/support/keys.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

const std::string folder = MOESIM_SOURCE "/tests/property/keys/";

/// A scenario of keys.json: a file beside it with some keys set.
struct Base {
  std::string name, group, path;
  std::vector<Override> sets;
  std::vector<std::string> tried;  ///< patterns of the keys that are tried in it
};

/// Keys that change nothing, or are only refused, in some scenarios, and why that is right.
struct Idle {
  std::string base, key, reason;
};

struct Laws {
  std::vector<Base> bases;
  std::vector<Idle> idle;
  Value values;  ///< by pattern of key: a list of values to try
};

const Value& part(const Value& of, std::string_view name) {
  const Value* found = of.find(name);
  INFO("keys.json: " << name);
  REQUIRE(found != nullptr);
  return *found;
}

Base base_of(const Value& from) {
  Base base{.name = part(from, "name").text,
            .group = part(from, "group").text,
            .path = folder + part(from, "scenario").text,
            .sets = {},
            .tried = {}};
  if (const Value* sets = from.find("set"))
    for (const auto& [key, value] : sets->members) base.sets.push_back({key, value});
  for (const Value& pattern : part(from, "tried").items) base.tried.push_back(pattern.text);
  return base;
}

const Laws& laws() {
  static const Laws all = [] {
    const std::string path = folder + "keys.json";
    const Value file = parse_json(read_file(path), path);
    Laws read{.bases = {}, .idle = {}, .values = part(file, "values")};
    for (const Value& base : part(file, "bases").items) read.bases.push_back(base_of(base));
    for (const Value& idle : part(file, "idle").items)
      read.idle.push_back({part(idle, "base").text, part(idle, "key").text, part(idle, "reason").text});
    return read;
  }();
  return all;
}

/// Patterns are those of a shell, several of them joined by |.
bool matches(const std::string& patterns, const std::string& name) {
  const std::vector<std::string> all = split(patterns, '|');
  return std::any_of(all.begin(), all.end(), [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

bool is_tried(const Base& base, const std::string& key) {
  return std::any_of(base.tried.begin(), base.tried.end(),
                     [&](const std::string& pattern) { return matches(pattern, key); });
}

bool is_idle(const Base& base, const std::string& key) {
  return std::any_of(laws().idle.begin(), laws().idle.end(), [&](const Idle& idle) {
    return matches(idle.base, base.name) && matches(idle.key, key);
  });
}

/// Of a file of measurements, which is data.
bool is_in_table(const std::string& key) { return matches("*.table.*", key); }

/// A part, whose keys are tried one by one, or free text about one.
bool is_part(const Declaration& key) {
  return key.type == "an object or a file name" || key.type == "a list of objects" || key.type == "any";
}

const Value* values_for(const std::string& key) {
  for (const auto& [pattern, values] : laws().values.members)
    if (matches(pattern, key)) return &values;
  return nullptr;
}

std::string list(const std::vector<Value>& values) {
  std::vector<std::string> words;
  for (const Value& value : values) words.push_back(print(value));
  return fmt::format("{}", fmt::join(words, ", "));
}

/// Tries one key. Each name of a choice, and each value of keys.json, must count; of numbers it is enough
/// that one does, since some are out of bounds or do not fit the rest.
void try_key(const Base& base, const Verdict& before, const ReadScenario& read, const Declaration& key) {
  const Value* given = values_for(key.name);
  const std::vector<Value> values = given != nullptr ? given->items : far_off(read, key);
  if (values.empty()) {
    if (is_idle(base, key.name)) return;
    FAIL_CHECK(key.name << " is " << key.type << ": give it a line in \"values\" of keys.json");
    return;
  }
  const bool each = given != nullptr || key.type.starts_with("one of ");
  bool changes = false;
  std::vector<Value> vain;
  std::string refusal;
  for (const Value& value : values) {
    std::vector<Override> sets = base.sets;
    sets.push_back({key.name, value});
    const Verdict after = verdict_of(base.path, sets);
    if (after.is_refused) refusal = after.text;
    if (!after.is_refused && after == before && !is_idle(base, key.name + "=" + value.text))
      vain.push_back(value);
    changes = changes || (!after.is_refused && !(after == before));
    if (changes && !each) return;
  }
  if (each ? vain.empty() : changes) return;
  if (is_idle(base, key.name)) return;
  if (vain.empty()) {
    FAIL_CHECK(key.name << " is refused whatever it is: " << refusal);
  } else {
    FAIL_CHECK(key.name << " is read and changes nothing: tried " << list(vain)
                        << ". Let it count, refuse it where it has no meaning, or say in \"idle\" of "
                           "keys.json why it is right");
  }
}

/// Keys without those of a part that has more of its kind: the first of a list stands for the others.
std::vector<Declaration> keys_to_try(const Base& base, const ReadScenario& read) {
  std::vector<Declaration> keys;
  std::set<std::string> seen;
  for (const Declaration& key : read.keys) {
    if (is_part(key) || is_in_table(key.name) || !is_tried(base, key.name)) continue;
    if (seen.insert(key.name).second) keys.push_back(key);
  }
  return keys;
}

void hold(const std::string& group) {
  for (const Base& base : laws().bases) {
    if (base.group != group) continue;
    CAPTURE(base.name);
    const ReadScenario read = read_keys(base.path, base.sets);
    const Verdict before = verdict_of(base.path, base.sets);
    if (before.is_refused) {
      FAIL_CHECK(before.text);
      continue;
    }
    for (const Declaration& key : keys_to_try(base, read)) try_key(base, before, read, key);
  }
}

/// The part that a path's last step is a key of.
std::string parent_of(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string::npos ? std::string() : path.substr(0, dot);
}

std::string last_of(const std::string& path) { return path.substr(path.rfind('.') + 1); }

/// "schedule.zb_auto limit": where `moesim describe` lists a key.
std::string listed(const std::string& name, const std::string& key) { return name + " " + key; }

/// The kind of a family's member, which is listed by the members themselves.
bool chooses_member(const ReadScenario& read, const Declaration& key) {
  if (key.name == "cost.kind") return read.document.find("pipeline") == nullptr;
  return last_of(key.name) == "kind" && !key.name.starts_with("model.") && !key.name.starts_with("faults.");
}

/// In which no scenario is: for keys that can count in none.
const Base everywhere{.name = "everywhere", .group = "", .path = "", .sets = {}, .tried = {}};

/// All that `moesim describe` lists.
std::set<std::string> all_listed() {
  std::set<std::string> all;
  for (const DescribedKeys& part : described_keys())
    for (const Declaration& key : part.keys) all.insert(listed(part.name, key.name));
  return all;
}

/// Where a key that was read is listed. Some parts take their keys from two lists.
std::string listing_of(const std::set<std::string>& all, const ReadScenario& read, const std::string& path) {
  const std::string place = parent_of(path);
  const std::string name = described_name(read, place), key = last_of(path);
  if (place == "routing" && all.contains(listed("routing_draws", key))) return listed("routing_draws", key);
  return listed(name, key);
}

}  // namespace

TEST_CASE("Every key of a training step changes what comes of it, or is refused") { hold("step"); }

TEST_CASE("Every key of the members of families changes what comes of it, or is refused") { hold("member"); }

TEST_CASE("Every key of a pipeline or a communication alone changes what comes of it, or is refused") {
  hold("alone");
}

TEST_CASE("Every key of a search changes what it finds, or is refused") { hold("search"); }

TEST_CASE("Every key that is listed is tried in a scenario, and every key that is read is listed") {
  const std::set<std::string> all = all_listed();
  std::set<std::string> left = all;
  for (const Base& base : laws().bases) {
    CAPTURE(base.name);
    const ReadScenario read = read_keys(base.path, base.sets);
    for (const Declaration& key : read.keys) {
      if (is_in_table(key.name) || chooses_member(read, key)) continue;
      const std::string listing = listing_of(all, read, key.name);
      if (!is_part(key) && !all.contains(listing))
        FAIL_CHECK(key.name << " is read, but `moesim describe` does not list '" << listing << "'");
      if (is_part(key) || (is_tried(base, key.name) && !is_idle(base, key.name))) left.erase(listing);
    }
  }
  for (const std::string& listing : left) {
    if (is_idle(everywhere, listing)) continue;
    FAIL_CHECK("'" << listing
                   << "' of `moesim describe` is tried in no scenario: reach it by a line in "
                      "\"bases\" of tests/property/keys/keys.json, or say in \"idle\" why none can");
  }
}

TEST_CASE("A default that is written out, and words about a part, change nothing") {
  for (const Base& base : laws().bases) {
    if (base.group == "search") continue;
    CAPTURE(base.name);
    const ReadScenario read = read_keys(base.path, base.sets);
    const Verdict before = verdict_of(base.path, base.sets);
    std::vector<Override> sets = base.sets;
    sets.push_back(parse_override("about=other words"));
    sets.push_back(parse_override("sources=nobody reads this"));
    for (const Declaration& key : read.keys) {
      const bool is_given = value_at(read.document, key.name) != nullptr || key.name == "about";
      if (is_given || key.fallback.empty() || is_part(key) || is_in_table(key.name)) continue;
      if (!is_idle(base, "default " + key.name))
        sets.push_back({key.name, parse_json(key.fallback, "default")});
    }
    const Verdict after = verdict_of(base.path, sets);
    if (after == before) continue;
    FAIL_CHECK(after.text.substr(0, 300));
    for (std::size_t i = base.sets.size(); i < sets.size(); ++i) {
      std::vector<Override> one = base.sets;
      one.push_back(sets[i]);
      if (const Verdict alone = verdict_of(base.path, one); !(alone == before))
        FAIL_CHECK(sets[i].key << " = " << print(sets[i].value) << ": " << alone.text.substr(0, 200));
    }
  }
}
