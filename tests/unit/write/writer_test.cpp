// Writers: each format of each form, and who offers which.
#include "sim/write/writer.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "models/base/random.hpp"
#include "models/config/values.hpp"
#include "sim/write/columns.hpp"

using namespace moesim;

TEST_CASE("Formats are those of the register, form by form") {
  CHECK(formats({Form::text, Form::json, Form::table}) == std::vector<std::string>{"text", "json", "csv"});
  CHECK(formats({Form::table, Form::json}) == std::vector<std::string>{"csv", "json"});
  CHECK(formats({Form::run}) == std::vector<std::string>{"trace", "steps"});
  CHECK(formats({Form::graph}) == std::vector<std::string>{"dot"});
  CHECK(formats({Form::page}) == std::vector<std::string>{"html"});
  std::size_t all = 0;
  for (const Form form : {Form::text, Form::json, Form::table, Form::graph, Form::run, Form::page})
    all += formats({form}).size();
  CHECK(all == writers().size());
}

TEST_CASE("Text and graphs are written as they are told") {
  CHECK(write({.text = [] { return "words\n"; }}, "text") == "words\n");
  CHECK(write({.graph = [] { return "graph {}\n"; }}, "dot") == "graph {}\n");
}

TEST_CASE("JSON is one document, indented, or a line for each of many") {
  Value document = empty_object();
  document.set("a", value_of(1));
  CHECK(write({.json = [&] { return document; }}, "json") == "{\n  \"a\": 1\n}\n");
  const Told many{.json_lines = [&](const auto& take) {
    take(document);
    take(value_of("b"));
  }};
  CHECK(write(many, "json") == "{\"a\":1}\n\"b\"\n");
}

TEST_CASE("CSV quotes what needs it, and what is to be quoted anyway") {
  const Told told{.table = [] {
    return Table{
        .columns = {"a", "b,c"},
        .rows = {
            {{"x"}, {"say \"y\""}}, {{"z", true}, {}}, {cell_of(value_of(0.5)), cell_of(value_of(true))}}};
  }};
  CHECK(write(told, "csv") == "a,\"b,c\"\nx,\"say \"\"y\"\"\"\n\"z\",\n0.5,true\n");
}

TEST_CASE("Only forms that are asked for are made") {
  int made = 0;
  const Told told{.text =
                      [&] {
                        ++made;
                        return "text";
                      },
                  .json =
                      [&] {
                        ++made;
                        return Value{};
                      }};
  CHECK(write(told, "text") == "text");
  CHECK(made == 1);
}

TEST_CASE("Seconds of listed rows are printed as many picoseconds as they are, for two hours") {
  RandomStream random = Random(3).stream("seconds", 0);
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t most = std::uint64_t{1} << (1 + random.below(52));
    const auto count = static_cast<std::int64_t>(random.below(most));
    const std::string text = cell_of(seconds_of(Time{count})).text;
    INFO(text);
    CHECK(parse_json(text, "seconds").number == static_cast<double>(count) / 1e12);
    const std::string digits = fmt::format("{:.12f}", parse_json(text, "seconds").number);
    CHECK(digits == fmt::format("{}.{:012}", count / 1'000'000'000'000, count % 1'000'000'000'000));
    CHECK(text.size() <= 22);  // no digits that mean nothing
  }
}

TEST_CASE("A list in a cell is joined, and an empty one is empty") {
  CHECK(cell_of(list_of(std::vector<int>{3, 14})).text == "3+14");
  CHECK(cell_of(list_of(std::vector<std::string>{"norm", "latent"})).text == "norm+latent");
  CHECK(cell_of(empty_list()).text.empty());
}
