// Documents: JSON text, extends, overrides, and what is said where they are wrong.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "models/config/document.hpp"
#include "models/config/reader.hpp"
#include "tests/support/folder.hpp"

using namespace moesim;

namespace {

Value parse(const std::string& text) { return parse_json(text, "x.json"); }

std::string error_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::string parse_error(const std::string& text) {
  return error_of([&] { parse(text); });
}

/// The document after overrides, in one line.
std::string with(const std::string& text, const std::vector<std::string>& changes) {
  std::vector<Override> overrides;
  for (const std::string& change : changes) overrides.push_back(parse_override(change));
  return print(load_document_text(text, "x.json", overrides), 1000);
}

std::string with_error(const std::string& text, const std::vector<std::string>& changes) {
  return error_of([&] { with(text, changes); });
}

/// Any value, to a depth.
Value any_value(RandomStream& random, int depth) {
  const std::uint64_t kind = random.below(depth > 0 ? 7 : 5);
  if (kind == 0) return {};
  if (kind == 1) return parse(random.below(2) == 0 ? "true" : "false");
  if (kind == 2) return parse(std::to_string(static_cast<std::int64_t>(random.bits())));
  Value value;
  if (kind == 3) {
    value.kind = Value::Kind::number;
    value.number = random.normal() * std::pow(10.0, random.normal() * 20) + 0.5;
  } else if (kind == 4) {
    value.kind = Value::Kind::text;
    for (std::uint64_t i = random.below(9); i > 0; --i) value.text += "a\"\\\n\t {}[],:0"[random.below(14)];
    value.text += "\xc3\xa9";
  } else if (kind == 5) {
    value.kind = Value::Kind::list;
    for (std::uint64_t i = random.below(4); i > 0; --i) value.items.push_back(any_value(random, depth - 1));
  } else {
    value.kind = Value::Kind::object;
    for (std::uint64_t i = random.below(4); i > 0; --i)
      value.set("k" + std::to_string(i), any_value(random, depth - 1));
  }
  return value;
}

}  // namespace

TEST_CASE("parse(write(x)) is x, for any x") {
  RandomStream random = Random(1).stream("values");
  for (int i = 0; i < 2000; ++i) {
    const Value value = any_value(random, 4);
    const std::string text = write_json(value);
    INFO(text);
    REQUIRE(same(parse(text), value));
  }
}

TEST_CASE("A whole number keeps all its digits, a larger one becomes a number") {
  CHECK(parse("[9223372036854775807]").items[0].integer == 9223372036854775807);
  CHECK(parse("[-9223372036854775808]").items[0].kind == Value::Kind::integer);
  CHECK(parse("[9223372036854775808]").items[0].kind == Value::Kind::number);
  CHECK(parse("[1.0]").items[0].kind == Value::Kind::number);
}

TEST_CASE("Wrong JSON names the line, the column and what was found") {
  CHECK(parse_error("{\"a\": 1,\n \"b\" 2}") ==
        "x.json: line 2, column 6: wrong JSON: unexpected number literal; expected ':'");
  CHECK(parse_error("{\"a\": 1,}") ==
        "x.json: line 1, column 9: wrong JSON: unexpected '}'; expected string literal");
  CHECK(parse_error("{\"a\": 1") ==
        "x.json: line 1, column 8: wrong JSON: unexpected end of input; expected '}'");
  CHECK(parse_error("{\"a\": 1} x") ==
        "x.json: line 1, column 10: wrong JSON: invalid literal; last read: '1} x'; expected end of input");
  CHECK(parse_error("[1e400]") == "x.json: line 1, column 6: wrong JSON: the number 1e400 is too large");
}

TEST_CASE("A key given twice is an error at its second place") {
  CHECK(parse_error("{\"a\": 1,\n  \"b\": {\"a\": 2,\n  \"a\": 3}}") ==
        "x.json: line 3, column 5: key 'a' is given twice");
  CHECK_NOTHROW(parse(R"({"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]})"));
}

TEST_CASE("A hundred levels are read, one more is refused") {
  CHECK_NOTHROW(parse(std::string(100, '[') + std::string(100, ']')));
  CHECK(parse_error(std::string(101, '[')) ==
        "x.json: line 1, column 101: wrong JSON: nested deeper than 100 levels");
}

TEST_CASE("A long value is cut between letters") {
  CHECK(print(parse(R"(["abcdef"])"), 10) == R"(["abcdef"])");
  CHECK(print(parse(R"(["abcdefg"])"), 10) == R"(["abcde...)");
  CHECK(print(parse("[\"abcd\xc3\xa9\xc3\xa9\"]"), 10) == R"(["abcd...)");
}

TEST_CASE("A missing file, a directory, an empty file and a file that holds no object are errors") {
  const Folder folder("documents");
  const auto message = [&](const std::string& path) {
    return folder.shorten(error_of([&] { load_document(path); }));
  };
  CHECK(message(folder.at("none.json")) == "none.json: no such file");
  folder.write("sub/a.json", "{}");
  CHECK(message(folder.at("sub")) == "sub: is a directory, expected a JSON file");
  CHECK(message(folder.write("empty.json", " \n")) == "empty.json: is empty, expected JSON");
  CHECK(message(folder.write("list.json", "[1]")) == "list.json: holds a list, expected an object");
  CHECK(message(folder.write("text.json", "\"a\"")) == "text.json: holds a text, expected an object");
  CHECK(message(std::string(5000, 'a')) == std::string(5000, 'a') + ": File name too long");
}

TEST_CASE("A child's members win over what it extends, and objects merge") {
  const Folder folder("extends");
  folder.write("base/parent.json", R"({"a": 1, "b": {"x": 1, "y": [1, 2]}, "c": "keep"})");
  const Value child = load_document(folder.write(
      "child.json", R"({"extends": "base/parent.json", "a": 2, "b": {"y": [3], "z": 4}, "d": 5})"));
  CHECK(print(child, 1000) == R"({"a":2,"b":{"x":1,"y":[3],"z":4},"c":"keep","d":5})");
  CHECK(folder.shorten(child.find("c")->origin) == "base/parent.json");
  CHECK(folder.shorten(child.find("a")->origin) == "child.json");
}

TEST_CASE("Extends works in parts, over several files, and replaces a part of another kind whole") {
  const Folder folder("chain");
  folder.write(
      "one.json",
      R"({"a": 1, "schedule": {"kind": "interleaved", "chunks": 4}, "cost": {"kind": "x", "n": 1}})");
  folder.write("two.json",
               R"({"extends": "one.json", "b": 2, "schedule": {"kind": "gpipe"}, "cost": {"n": 2}})");
  const Value three =
      load_document(folder.write("three.json", R"({"part": {"extends": "two.json", "b": 3}})"));
  CHECK(print(three, 1000) ==
        R"({"part":{"a":1,"schedule":{"kind":"gpipe"},"cost":{"kind":"x","n":2},"b":3}})");
}

TEST_CASE("A null takes an inherited key away, at any depth and over several files") {
  const Folder folder("null");
  folder.write("one.json", R"({"a": 1, "b": {"x": 1, "y": {"p": 1, "q": 2}}, "c": [1, 2]})");
  folder.write("two.json", R"({"extends": "one.json", "a": null, "b": {"y": {"q": null}}})");
  CHECK(print(load_document(folder.at("two.json")), 1000) == R"({"b":{"x":1,"y":{"p":1}},"c":[1,2]})");
  folder.write("three.json", R"({"extends": "two.json", "a": 3, "b": {"y": null}, "c": null})");
  CHECK(print(load_document(folder.at("three.json")), 1000) == R"({"b":{"x":1},"a":3})");
  const Value part =
      load_document(folder.write("four.json", R"({"part": {"extends": "one.json", "b": null}})"));
  CHECK(print(part, 1000) == R"({"part":{"a":1,"c":[1,2]}})");
}

// RFC 7396, appendix A: those of its cases that are objects and take away what there is.
TEST_CASE("Extending is a merge patch") {
  struct Patch {
    std::string original, patch, result;
  };
  for (const Patch& one : {Patch{R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
                           Patch{R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
                           Patch{R"({"a":"b"})", R"({"a":null})", R"({})"},
                           Patch{R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
                           Patch{R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
                           Patch{R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
                           Patch{R"({"a":{"b":"c"}})", R"({"a":{"b":"d"}})", R"({"a":{"b":"d"}})"},
                           Patch{R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"}}) {
    const Folder folder("patch");
    folder.write("original.json", one.original);
    const std::string members = one.patch.substr(1, one.patch.size() - 2);
    const std::string child = R"({"extends": "original.json", )" + members + "}";
    CHECK(print(load_document(folder.write("child.json", child)), 1000) == one.result);
  }
}

TEST_CASE("An override with null takes a key away, in parts that are files too") {
  const Folder folder("set-null");
  folder.write("part.json", R"({"x": 1, "y": {"z": 2, "w": 3}})");
  const std::string file = folder.write("a.json", R"({"a": 1, "part": "part.json", "list": [1, {"b": 2}]})");
  const auto with = [&](const std::vector<std::string>& sets) {
    std::vector<Override> overrides;
    for (const std::string& set : sets) overrides.push_back(parse_override(set));
    return print(load_document(file, overrides), 1000);
  };
  CHECK(with({"a=null", "list=null"}) == R"({"part":"part.json"})");
  CHECK(with({"part.y.z=null", "list.1.b=null"}) == R"({"a":1,"part":{"x":1,"y":{"w":3}},"list":[1,{}]})");
  CHECK(with({"part.y.v=4", "part.y=null", "list=null"}) == R"({"a":1,"part":{"x":1,"y":{"v":4}}})");
}

TEST_CASE("A null that takes nothing away is an error that says where") {
  const Folder folder("null-of-nothing");
  folder.write("one.json", R"({"a": 1, "b": {"x": 1}})");
  const auto message = [&](const std::string& text, const std::vector<std::string>& sets = {}) {
    std::vector<Override> overrides;
    for (const std::string& set : sets) overrides.push_back(parse_override(set));
    const std::string file = folder.write("two.json", text);
    return folder.shorten(error_of([&] {
      const Value document = load_document(file, overrides);
      Reader(document, "").integer({.name = "k", .help = "", .fallback = 1});
    }));
  };
  CHECK(message(R"({"extends": "one.json", "b": {"y": null}})") ==
        "two.json: b.y: is null, but there is no such key to take away");
  CHECK(message(R"({"k": null})") ==
        "two.json: k: is null, which takes an inherited key away, but none is inherited");
  CHECK(message("{}", {"b.y=null"}) == "--set b.y: is null, but there is no key 'b' to take away");
  CHECK(message(R"({"l": [1]})", {"l.0=null"}) == "--set l.0: is null, but '0' is no key to take away");
}

TEST_CASE("A document knows every file that it was read from and may need") {
  const Folder folder("files");
  folder.write("base.json", R"({"part": {"extends": "lost.json"}, "a": 1})");
  folder.write("lost.json", "{}");
  folder.write("table.json", R"({"extends": "deep.json"})");
  folder.write("deep.json", R"({"trace": "trace.csv", "loop": "table.json"})");
  folder.write("trace.csv", "1");
  folder.write("swept.json", "{}");
  folder.write("other.json", "{}");
  const std::string file = folder.write("a.json", R"({"extends": "base.json", "about": "words", "part": 3})");
  const Value document = load_document(file, {parse_override("cost.table=" + folder.at("table.json"))});
  const Value swept{.kind = Value::Kind::text, .text = folder.at("swept.json")};
  std::vector<std::string> names = files_needed(document, {&swept, 1});
  for (std::string& name : names) name = folder.shorten(name);
  std::sort(names.begin(), names.end());
  CHECK(names == std::vector<std::string>{"a.json", "base.json", "deep.json", "lost.json", "swept.json",
                                          "table.json", "trace.csv"});
}

TEST_CASE("Extends in a circle, to nothing and to no object are errors") {
  const Folder folder("circle");
  folder.write("a.json", R"({"extends": "b.json"})");
  folder.write("b.json", R"({"extends": "./a.json"})");
  folder.write("self.json", R"({"extends": "self.json"})");
  folder.write("nothing.json", R"({"extends": "missing-file.json"})");
  folder.write("number.json", R"({"extends": 3})");
  folder.write("list.json", "[1]");
  folder.write("of-list.json", R"({"extends": "list.json"})");
  folder.write("twice.json", R"({"a": {"extends": "leaf.json"}, "b": {"extends": "leaf.json"}})");
  folder.write("leaf.json", R"({"x": 1})");
  const auto message = [&](const std::string& file) {
    return folder.shorten(error_of([&] { load_document(folder.at(file)); }));
  };
  CHECK(message("a.json") == "a.json: extends: leads in a circle: a.json -> b.json -> a.json");
  CHECK(message("self.json") == "self.json: extends: leads in a circle: self.json -> self.json");
  CHECK(message("nothing.json") ==
        "nothing.json: names the file 'missing-file.json', which is not beside it or in a folder above");
  CHECK(message("number.json") == "number.json: extends: is 3, expected a file name");
  CHECK(message("of-list.json") == "of-list.json: extends: leads to no object");
  CHECK(message("twice.json") == "no error");
}

TEST_CASE("A file is found beside the one that names it, then in the folders above") {
  const Folder folder("beside");
  folder.write("configs/one.json", "{}");
  folder.write("scenarios/one.json", "{}");
  const std::string scenario = folder.at("scenarios/deep/s.json");
  CHECK(folder.shorten(find_beside("one.json", scenario)) == "scenarios/one.json");
  CHECK(folder.shorten(find_beside("configs/one.json", scenario)) == "configs/one.json");
  CHECK(find_beside("/anywhere/at/all.json", scenario) == "/anywhere/at/all.json");
}

TEST_CASE("An override is a key, an equals sign and JSON or a bare word") {
  CHECK(parse_override("a.b=3").value.integer == 3);
  CHECK(parse_override("a=true").value.kind == Value::Kind::boolean);
  CHECK(parse_override("a=gpipe").value.text == "gpipe");
  CHECK(parse_override("a=50 GB/s").value.text == "50 GB/s");
  CHECK(parse_override("a=[1,2]").value.items.size() == 2);
  CHECK(parse_override("a=b=c").value.text == "b=c");
  CHECK(parse_override("a=").value.text.empty());
  CHECK(parse_override("a=").value.kind == Value::Kind::text);
  for (const std::string wrong : {"a", "", "=3"}) {
    CHECK(error_of([&] { parse_override(wrong); }) ==
          "--set " + wrong + ": expected KEY=VALUE, as --set schedule.kind=gpipe");
  }
}

TEST_CASE("Overrides set, add and reach into lists") {
  CHECK(with(R"({"a": 1})", {"a=2"}) == R"({"a":2})");
  CHECK(with("{}", {"a.b.c=2"}) == R"({"a":{"b":{"c":2}}})");
  CHECK(with(R"({"a": [1, {"b": 2}]})", {"a.1.b=3", "a.0=9"}) == R"({"a":[9,{"b":3}]})");
  CHECK(with(R"({"a": 1})", {"a=2", "a=3"}) == R"({"a":3})");
  CHECK(with(R"({"a": null})", {"a.b=1"}) == R"({"a":{"b":1}})");
}

TEST_CASE("Overrides that lead nowhere are errors") {
  CHECK(with_error(R"({"a": [1, 2]})", {"a.2=3"}) == "--set a.2: '2' is no item of a list of 2");
  CHECK(with_error(R"({"a": [1, 2]})", {"a.-1=3"}) == "--set a.-1: '-1' is no item of a list of 2");
  CHECK(with_error(R"({"a": [1, 2]})", {"a.x=3"}) == "--set a.x: 'x' is no item of a list of 2");
  CHECK(with_error(R"({"a": 1})", {"a.b=3"}) == "--set a.b: 'b' leads through 1, which has no keys");
  CHECK(with_error("{}", {"a..b=3"}) == "--set a..b: has an empty step, expected a path as schedule.kind");
  CHECK(with_error("{}", {".a=3"}) == "--set .a: has an empty step, expected a path as schedule.kind");
  CHECK(with_error("{}", {"a.=3"}) == "--set a.: has an empty step, expected a path as schedule.kind");
}

TEST_CASE("An override opens a part that is given as a file name") {
  const Folder folder("parts");
  folder.write("cluster.json", R"({"name": "small", "topology": {"rate": 1}})");
  const std::string scenario = folder.write("s.json", R"({"cluster": "cluster.json"})");
  const Value opened = load_document(scenario, {parse_override("cluster.topology.rate=2")});
  CHECK(print(opened) == R"({"cluster":{"name":"small","topology":{"rate":2}}})");
  CHECK(folder.shorten(opened.find("cluster")->find("name")->origin) == "cluster.json");
  CHECK(opened.find("cluster")->find("topology")->find("rate")->origin == "--set");
}

TEST_CASE(
    "Another kind starts from its defaults and takes the other overrides, in whatever order they come") {
  const std::string text = R"({"schedule": {"kind": "interleaved", "chunks": 4}})";
  CHECK(with(text, {"schedule.kind=gpipe"}) == R"({"schedule":{"kind":"gpipe"}})");
  CHECK(with(text, {"schedule.x=1", "schedule.kind=gpipe"}) == R"({"schedule":{"kind":"gpipe","x":1}})");
  CHECK(with(text, {"schedule.kind=interleaved"}) == R"({"schedule":{"kind":"interleaved","chunks":4}})");
  CHECK(with(R"({"engine": {"flows": "pair"}})", {"engine.kind=fluid"}) ==
        R"({"engine":{"flows":"pair","kind":"fluid"}})");
  CHECK(with("{}", {"engine.kind=fluid"}) == R"({"engine":{"kind":"fluid"}})");
}

TEST_CASE("A part that is replaced does not lose the overrides of its keys") {
  const Folder folder("replaced");
  folder.write("other.json", R"({"name": "other", "topology": {"kind": "nvswitch", "rate": 1}})");
  const std::string scenario = folder.write("s.json", R"({"cluster": {"name": "first"}})");
  const Value value = load_document(
      scenario, {parse_override("cluster.topology.rate=3"), parse_override("cluster.topology.kind=tree"),
                 parse_override("cluster=" + folder.at("other.json"))});
  CHECK(print(value, 200) == R"({"cluster":{"name":"other","topology":{"kind":"tree","rate":3}}})");
}

TEST_CASE("A title is what a document is about, and what the command line changed of it") {
  const auto title = [](std::initializer_list<const char*> sets) {
    std::vector<Override> overrides;
    for (const char* set : sets) overrides.push_back(parse_override(set));
    return title_of(load_document_text(
        R"({"about": "Two GPUs", "schedule": {"kind": "1f1b"}, "batch": {"sequences": 8}, "list": [{"a": 1}]})",
        "x.json", overrides));
  };
  CHECK(title({}) == "Two GPUs");
  CHECK(title({"schedule.kind=gpipe"}) == "Two GPUs, with schedule.kind=gpipe");
  CHECK(title({"list.0.a=2", "batch.sequences=16"}) == "Two GPUs, with batch.sequences=16, list.0.a=2");
  CHECK(title({R"(routing={"kind": "top_k", "seed": 3})"}) ==
        "Two GPUs, with routing.kind=top_k, routing.seed=3");
  CHECK(title({"recompute=[\"norm\"]"}) == "Two GPUs, with recompute=[\"norm\"]");
  CHECK(title({"about=Mine", "schedule.kind=gpipe"}) == "Mine");
  CHECK(title_of(load_document_text("{}", "x.json", {parse_override("a.b=1")})) == "with a.b=1");
}

TEST_CASE("A whole document has its parts in it, names files of measurements, and leaves words alone") {
  const Folder folder("whole");
  folder.write("parts/device.json", R"({"name": "device.json"})");
  folder.write("parts/cluster.json", R"({"device": "device.json", "about": "device.json"})");
  folder.write("loads.json", "{}");
  const std::string scenario = folder.write(
      "x.json",
      R"({"cluster": "parts/cluster.json", "skew": {"file": "loads.json"}, "model": "nowhere.json"})");
  const Value whole = whole_document(load_document(scenario));
  CHECK(
      folder.shorten(one_line(whole)) ==
      R"({"cluster":{"device":{"name":"device.json"},"about":"device.json"},"skew":{"file":"loads.json"},"model":"nowhere.json"})");
  CHECK(whole.find("skew")->find("file")->text == folder.at("loads.json"));
  CHECK(one_line(whole_document(load_document(scenario), DataFiles::opened)).find(R"("file":{})") !=
        std::string::npos);
}
