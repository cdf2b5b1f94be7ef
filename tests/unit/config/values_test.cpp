// Values that the program makes are those that parsing gives.
#include "models/config/values.hpp"

#include <catch2/catch.hpp>

using namespace moesim;

TEST_CASE("A value is of the kind of what it is given, and a whole number is a number too") {
  CHECK(same(value_of(true), parse_json("true", "")));
  CHECK(same(value_of(-3), parse_json("-3", "")));
  CHECK(same(value_of(std::int64_t{1} << 40), parse_json("1099511627776", "")));
  CHECK(same(value_of(std::uint64_t{7}), parse_json("7", "")));
  CHECK(same(value_of(0.5), parse_json("0.5", "")));
  CHECK(same(value_of("text"), parse_json("\"text\"", "")));
  CHECK(same(value_of(std::string("text")), parse_json("\"text\"", "")));
  CHECK(same(empty_object(), parse_json("{}", "")));
  CHECK(same(list_of(std::vector<std::int64_t>{1, 2}), parse_json("[1, 2]", "")));
  CHECK(value_of(-3).number == -3);
}

TEST_CASE("A value knows where it comes from, and so do the items of a list") {
  CHECK(value_of("a", "search").origin == "search");
  const Value list = list_of(std::vector<std::string>{"a"}, "search");
  CHECK(list.origin == "search");
  CHECK(list.items.at(0).origin == "search");
}
