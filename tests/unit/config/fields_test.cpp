// Tables of keys: read in their order, written back where they are fitted; and misfits, the words of rules.
#include "models/config/fields.hpp"

#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/config/misfit.hpp"
#include "models/config/values.hpp"

using namespace moesim;

namespace {

enum class Colour : std::uint8_t { red, green };
constexpr std::string_view colours[] = {"red", "green"};

struct Box {
  std::int64_t height = 0;
};
struct Shelf {
  double share = 0;
  bool has_gap = false;
  Time gap{};
  Rate rate{1};
  Colour colour = Colour::red;
  Box box{};
};

auto keys() {
  return std::tuple{
      fitted(&Shelf::share, {.name = "share", .help = "of it", .at_least = 0.0, .at_most = 1.0}),
      fitted(&Shelf::has_gap, &Shelf::gap, {.name = "gap", .help = "between", .fallback = Time{}}),
      field(&Shelf::rate, {.name = "rate", .help = "of filling", .fallback = Rate{5e9}}),
      choice(&Shelf::colour, colours, {.name = "colour", .help = "of all", .fallback = "red"}),
      field(&Shelf::box, &Box::height, {.name = "height", .help = "of a box", .fallback = 3})};
}

Shelf read(const std::string& json) {
  const Value document = parse_json(json, "");
  Reader reader(document, "shelf");
  Shelf shelf;
  read_fields(reader, shelf, keys());
  reader.finish();
  return shelf;
}

std::string problem(const std::string& json) {
  try {
    read(json);
  } catch (const InputError& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

TEST_CASE("A table sets each member to its key, or to the key's usual value") {
  const Shelf given =
      read(R"({"share": 0.5, "gap": "2 us", "rate": "1 GB/s", "colour": "green", "height": 7})");
  CHECK(given.share == 0.5);
  CHECK(given.has_gap);
  CHECK(given.gap == from_seconds(2e-6));
  CHECK(given.rate == Rate{1e9});
  CHECK(given.colour == Colour::green);
  CHECK(given.box.height == 7);
  const Shelf usual = read(R"({"share": 1})");
  CHECK(!usual.has_gap);
  CHECK(usual.rate == Rate{5e9});
  CHECK(usual.colour == Colour::red);
  CHECK(usual.box.height == 3);
}

TEST_CASE("A table keeps the bounds of its keys, and knows no other keys") {
  CHECK(problem("{}") == "shelf.share: is missing, expected a number (of it)");
  CHECK(problem(R"({"share": 2})") == "shelf.share: is 2, expected 0 to 1");
  CHECK(problem(R"({"share": 1, "width": 2})").starts_with("shelf.width: unknown key (known: colour, gap, "));
}

TEST_CASE("Only what is fitted is written back, with six digits, and only where it is given") {
  Value object = empty_object();
  object.set("rate", value_of("as it was"));
  write_fitted(object, Shelf{.share = 1.0 / 3}, keys());
  CHECK(print(object) == R"({"rate":"as it was","share":0.333333})");
  write_fitted(object, Shelf{.share = 1, .has_gap = true, .gap = from_seconds(2e-6)}, keys());
  CHECK(print(object) == R"({"rate":"as it was","share":1.0,"gap":"2 us"})");
}

TEST_CASE("A misfit keeps its numbers until its words are asked for") {
  const Misfit misfit = [] {
    const std::string model = "a model whose name is too long to stand inside a text";
    return Misfit("parts.one", "{} of {:.2g} in '{}'", std::int64_t{3}, 0.125, model).with_hint("take two");
  }();
  const Misfit copy = misfit;
  CHECK(copy.key() == "parts.one");
  CHECK(copy.what() == "3 of 0.12 in 'a model whose name is too long to stand inside a text'");
  CHECK(copy.hint() == "take two");
}

TEST_CASE("A reader makes an error of a misfit, and a described one asks no rule") {
  const Value document = parse_json(R"({"parts": {"one": 3}})", "");
  const Reader reader(document, "");
  int asked = 0;
  const auto rule = [&](std::int64_t most) -> Fit {
    ++asked;
    if (most >= 3) return {};
    return Misfit("parts.one", "is 3, expected at most {}", most);
  };
  CHECK_NOTHROW(reader.expect(rule, std::int64_t{3}));
  CHECK_THROWS_WITH(reader.expect(rule, std::int64_t{2}), "parts.one: is 3, expected at most 2");
  CHECK(asked == 2);
  std::vector<Declaration> declared;
  CHECK_NOTHROW(Reader::describing(declared).expect(rule, std::int64_t{2}));
  CHECK(asked == 2);
}
