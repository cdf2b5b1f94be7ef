#include "sim/read/axes.hpp"

#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/config/document.hpp"

using namespace moesim;

namespace {

std::vector<std::string> printed(const std::vector<Value>& values) {
  std::vector<std::string> texts;
  for (const Value& value : values) texts.push_back(print(value));
  return texts;
}

std::vector<std::string> range(const std::string& text) { return printed(parse_range(text, "here").value()); }

std::string message_of(auto action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::string refusal(const std::string& text) {
  return message_of([&] { parse_range(text, "here"); });
}

std::vector<ZippedKeys> axes_of(const std::string& sweep) {
  return read_axes(parse_json("{\"sweep\": " + sweep + "}", "x.json"));
}

std::vector<std::vector<std::string>> points(const std::string& sweep) {
  std::vector<std::vector<std::string>> texts;
  for (const std::vector<Value>& point : points_of(axes_of(sweep))) texts.push_back(printed(point));
  return texts;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("A range has both of its ends, as far as its steps meet the last") {
  CHECK(range("8..64 x2") == Texts{"8", "16", "32", "64"});
  CHECK(range("8..63x2") == Texts{"8", "16", "32"});
  CHECK(range("1..1000 x10") == Texts{"1", "10", "100", "1000"});
  CHECK(range("0.5..2 step 0.25") == Texts{"0.5", "0.75", "1.0", "1.25", "1.5", "1.75", "2.0"});
  CHECK(range("0.1..0.4 step 0.1") == Texts{"0.1", "0.2", "0.3", "0.4"});
  CHECK(range("1..4") == Texts{"1", "2", "3", "4"});
  CHECK(range("-2..2 step 2") == Texts{"-2", "0", "2"});
  CHECK(range("3..3") == Texts{"3"});
  CHECK(parse_range("1..4", "here").value().front().kind == Value::Kind::integer);
}

TEST_CASE("A text that does not begin as a range is none") {
  for (const std::string text : {"1f1b", "2 us", "../configs/x.json", "8", "", "a..b"}) {
    INFO(text);
    CHECK_FALSE(parse_range(text, "here").has_value());
  }
}

TEST_CASE("A range without an end, with a step of nothing or with too many values is refused") {
  for (const std::string text : {"64..8 x2", "8..64 x1", "8..64 x0", "0..8 x2", "-1..8 x2", "1..4 step 0"})
    CHECK(refusal(text) == "here: '" + text + "' never comes to its end");
  for (const std::string text : {"8..64 x", "8..64 y2", "8..", "8..64 step", "1..2..3", "1..4 us", "1..e"}) {
    CHECK(refusal(text) ==
          "here: '" + text + "' is no range, expected as 1..4, 8..64 x2 or 0.5..2 step 0.25");
  }
  CHECK(refusal("1..1e9") == "here: '1..1e9' has over 1000000 values");
  CHECK(refusal("1..99999999999999999999 x2").find("too large") != std::string::npos);
}

TEST_CASE("An object of keys is multiplied, the last key changing fastest") {
  CHECK(points(R"({"a": [1, 2], "b": "3..4"})") ==
        std::vector<Texts>{{"1", "3"}, {"1", "4"}, {"2", "3"}, {"2", "4"}});
  CHECK(keys_of(axes_of(R"({"a.b": [1], "c": [2]})")) == Texts{"a.b", "c"});
  CHECK(axes_of("{}").empty());
  CHECK(read_axes(parse_json("{}", "x.json")).empty());
}

TEST_CASE("The keys of one object in a list change together, and the objects are multiplied") {
  CHECK(
      points(R"([{"a": [1, 2], "b": [3, 4]}, {"c": ["x", "y"]}])") ==
      std::vector<Texts>{{"1", "3", "\"x\""}, {"1", "3", "\"y\""}, {"2", "4", "\"x\""}, {"2", "4", "\"y\""}});
}

TEST_CASE("A sweep that cannot be is refused with its place") {
  const auto said = [](const std::string& sweep) {
    return message_of([&] {
      keys_of(axes_of(sweep));
      count_points(axes_of(sweep));
    });
  };
  CHECK(said("3") ==
        "x.json: sweep: is 3, expected an object of keys with their values, or a list of such objects");
  CHECK(said("[3]").starts_with("x.json: sweep: is 3, expected an object"));
  CHECK(
      said(R"({"a": 3})") ==
      "x.json: sweep.a: is 3, expected a list of values or a range, as \"8..64 x2\" or \"0.5..2 step 0.25\"");
  CHECK(said(R"({"a": []})").starts_with("x.json: sweep.a: is [], expected a list of values"));
  CHECK(said(R"({"a": "8..4"})") == "x.json: sweep.a: '8..4' never comes to its end");
  CHECK(said(R"([{"a": [1, 2], "b": [3]}])") == "sweep: zips 2 values of a with 1 of b");
  CHECK(said(R"([{"a": [1]}, {"a": [2]}])") == "sweep.a: is given twice");
  CHECK(said(R"({"a": "1..2000", "b": "1..2000"})") == "sweep: has over 1000000 points");
}
