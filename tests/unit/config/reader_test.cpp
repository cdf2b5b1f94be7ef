// Readers: every type, bound and unit, and the exact words where something is wrong.
#include <catch2/catch.hpp>
#include <functional>
#include <limits>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/config/family.hpp"
#include "models/config/quantity.hpp"
#include "models/config/reader.hpp"
#include "tests/support/folder.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

/// What reading one key "k" of {"k": <value>} throws.
template <class Read>
std::string error_of(const std::string& value, Read read) {
  const Value document = load_document_text("{\"k\": " + value + "}", "x.json");
  Reader reader(document, "part");
  try {
    read(reader);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

template <class Read>
auto read(const std::string& value, Read act) {
  const Value document = load_document_text("{\"k\": " + value + "}", "x.json");
  Reader reader(document, "");
  return act(reader);
}

const auto integer = [](Reader& r) {
  return r.integer({.name = "k", .help = "h", .at_least = 1, .at_most = 8});
};
const auto number = [](Reader& r) { return r.number({.name = "k", .help = "h", .at_least = 0.0}); };
const auto flag = [](Reader& r) { return r.flag({.name = "k", .help = "h"}); };
const auto text = [](Reader& r) { return r.text({.name = "k", .help = "h"}); };
const auto duration = [](Reader& r) { return r.time({.name = "k", .help = "h"}); };
const auto bytes = [](Reader& r) { return r.bytes({.name = "k", .help = "h", .at_least = Bytes{1}}); };
const auto rate = [](Reader& r) { return r.rate({.name = "k", .help = "h"}); };
const auto flop_rate = [](Reader& r) { return r.flop_rate({.name = "k", .help = "h"}); };
const auto choice = [](Reader& r) {
  static constexpr std::string_view names[] = {"gpipe", "1f1b", "dualpipe"};
  return r.choice({.name = "k", .help = "h"}, names);
};

}  // namespace

TEST_CASE("A key is supplied where an object lacks it or says none, and stays where it is said") {
  const Value document = parse_json(R"({"said": "mine", "none": "none"})", "test");
  Reader reader(document, "part");
  for (const char* name : {"said", "none", "lacking"}) reader.supply(name, "theirs");
  CHECK(reader.text({.name = "said", .help = ""}) == "mine");
  CHECK(reader.text({.name = "none", .help = ""}) == "theirs");
  CHECK(reader.text({.name = "lacking", .help = ""}) == "theirs");
  CHECK_NOTHROW(reader.finish());
  CHECK(document.find("lacking") == nullptr);
}

TEST_CASE("Values of every type are read as given") {
  CHECK(read("8", integer) == 8);
  CHECK(read("2.0", integer) == 2);
  CHECK(read("0.25", number) == 0.25);
  CHECK(read("3", number) == 3.0);
  CHECK(read("true", flag));
  CHECK(read("\"a b\"", text) == "a b");
  CHECK(read("\"dualpipe\"", choice) == 2);
  CHECK(read("\"2 us\"", duration) == 2_us);
  CHECK(read("\"0 s\"", duration) == Time{});
  CHECK(read("\"1.5ms \"", duration) == 1500_us);
  CHECK(read("\"80 GiB\"", bytes).count == 80LL * 1024 * 1024 * 1024);
  CHECK(read("\"64 MB\"", bytes).count == 64'000'000);
  CHECK(read("\"400 Gb/s\"", rate) == 50_GBps);
  CHECK(read("\"1 GiB/s\"", rate) == Rate{1073741824});
  CHECK(read("\"989 TFLOPS\"", flop_rate) == 989_TFLOPS);
}

TEST_CASE("Lists are read item by item, and a missing one is empty, and one text stands for a list of it") {
  const auto integers = [](Reader& r) { return r.integers({.name = "k", .help = "h", .at_least = 0}); };
  const auto numbers = [](Reader& r) { return r.numbers({.name = "k", .help = "h", .at_most = 1.0}); };
  const auto texts = [](Reader& r) { return r.texts({.name = "k", .help = "h"}); };
  CHECK(read("[1, 2]", integers) == std::vector<std::int64_t>{1, 2});
  CHECK(read("[0.5]", numbers) == std::vector<double>{0.5});
  CHECK(read("[\"a\", \"b\"]", texts) == std::vector<std::string>{"a", "b"});
  CHECK(read("\"a\"", texts) == std::vector<std::string>{"a"});
  CHECK(read("1, \"other\": 2", [](Reader& r) { return r.integers({.name = "none", .help = "h"}); }).empty());
  CHECK(error_of("3", integers) == "x.json: part.k: 3 is not a list");
  CHECK(error_of("[1, \"a\"]", integers) == "x.json: part.k: holds \"a\", which is not a whole number");
  CHECK(error_of("[1, -1]", integers) == "x.json: part.k: is -1, expected at least 0");
  CHECK(error_of("[0.5, 2]", numbers) == "x.json: part.k: is 2, expected at most 1");
  CHECK(error_of("[1]", texts) == "x.json: part.k: holds 1, which is not a text");
}

TEST_CASE("A value of the wrong type names itself") {
  CHECK(error_of("1.5", integer) == "x.json: part.k: 1.5 is not a whole number");
  CHECK(error_of("\"8\"", integer) == "x.json: part.k: \"8\" is not a whole number");
  CHECK(error_of("1e30", integer) == "x.json: part.k: 1e+30 is too large, expected a whole number");
  CHECK(error_of("true", number) == "x.json: part.k: true is not a number");
  CHECK(error_of("1", flag) == "x.json: part.k: 1 is not true or false");
  CHECK(error_of("{\"a\": 1}", text) == "x.json: part.k: {\"a\":1} is not a text");
  CHECK(error_of("5", choice) == "x.json: part.k: 5 is not one of gpipe, 1f1b, dualpipe");
  CHECK(error_of("null", duration) ==
        "x.json: part.k: is null, which takes an inherited key away, but none is inherited");
}

TEST_CASE("Bounds hold on both sides, and the ends are inside") {
  CHECK(read("1", integer) == 1);
  CHECK(error_of("0", integer) == "x.json: part.k: is 0, expected 1 to 8");
  CHECK(error_of("9", integer) == "x.json: part.k: is 9, expected 1 to 8");
  CHECK(error_of("-3", integer) == "x.json: part.k: is -3, expected 1 to 8");
  CHECK(error_of("-0.5", number) == "x.json: part.k: is -0.5, expected at least 0");
}

TEST_CASE("A quantity without a unit, or with another's, is an error that shows one that is right") {
  const std::string rates =
      "expected a rate as \"50 GB/s\" (B/s, MB/s, GB/s, TB/s, or bits: Mb/s, Gb/s, Tb/s)";
  const std::string sizes = "expected a size as \"64 MB\" (B, kB, MB, GB, TB, KiB, MiB, GiB, TiB)";
  CHECK(error_of("50", rate) == "x.json: part.k: 50 has no unit, " + rates);
  CHECK(error_of("\"50\"", rate) == "x.json: part.k: \"50\" has no unit, " + rates);
  CHECK(error_of("\"50 GB\"", rate) == "x.json: part.k: \"50 GB\" has the unknown unit 'GB', " + rates);
  CHECK(error_of("\"fast\"", rate) == "x.json: part.k: \"fast\" does not begin with a number, " + rates);
  CHECK(error_of("\"nan GB/s\"", rate) ==
        "x.json: part.k: \"nan GB/s\" does not begin with a number, " + rates);
  CHECK(error_of("\"inf GB/s\"", rate) ==
        "x.json: part.k: \"inf GB/s\" does not begin with a number, " + rates);
  CHECK(error_of("\"64 MW\"", bytes) == "x.json: part.k: \"64 MW\" has the unknown unit 'MW', " + sizes);
  CHECK(error_of("64", bytes) == "x.json: part.k: 64 has no unit, " + sizes);
  CHECK(error_of("\"\"", bytes) == "x.json: part.k: \"\" does not begin with a number, " + sizes);
  CHECK(error_of("\"5 TFLOP\"", flop_rate) ==
        "x.json: part.k: \"5 TFLOP\" has the unknown unit 'TFLOP', expected a compute rate as \"989 TFLOPS\" "
        "(GFLOPS, TFLOPS, PFLOPS)");
}

TEST_CASE("Quantities that are negative, zero where nothing is zero, or too large are errors") {
  CHECK(error_of("\"-2 us\"", duration) == "x.json: part.k: \"-2 us\" is negative");
  CHECK(error_of("\"-1 B\"", bytes) == "x.json: part.k: \"-1 B\" is negative");
  CHECK(error_of("\"0 GB\"", bytes) == "x.json: part.k: is \"0 B\", expected at least \"1 B\"");
  CHECK(error_of("\"0 GB/s\"", rate) == "x.json: part.k: \"0 GB/s\" is not above zero");
  CHECK(error_of("\"-1 GB/s\"", rate) == "x.json: part.k: \"-1 GB/s\" is not above zero");
  CHECK(error_of("\"0 TFLOPS\"", flop_rate) == "x.json: part.k: \"0 TFLOPS\" is not above zero");
  CHECK(error_of("\"1e300 TB/s\"", rate) == "x.json: part.k: \"1e300 TB/s\" is too large");
  CHECK(error_of("\"1e400 B/s\"", rate) ==
        "x.json: part.k: \"1e400 B/s\" is out of range, expected a rate as \"50 GB/s\" (B/s, MB/s, GB/s, "
        "TB/s, or "
        "bits: Mb/s, Gb/s, Tb/s)");
  CHECK(error_of("\"10000 PB\"", bytes) ==
        "x.json: part.k: \"10000 PB\" is too large, expected at most 9.2 EB");
  CHECK(read("\"8640000 s\"", duration).count == 8'640'000'000'000'000'000);
  CHECK(error_of("\"8640001 s\"", duration) ==
        "x.json: part.k: \"8640001 s\" is too large, expected at most 100 days");
}

TEST_CASE("A key that is missing says what it is, and one with a fallback takes it") {
  CHECK(error_of("1", [](Reader& r) { r.rate({.name = "nic", .help = "rate of a NIC"}); }) ==
        "x.json: part.nic: is missing, expected a rate (rate of a NIC)");
  CHECK(error_of("1", [](Reader& r) { r.part("device", "the accelerator"); }) ==
        "x.json: part.device: is missing, expected an object or a file name (the accelerator)");
  CHECK(read("1", [](Reader& r) { return r.integer({.name = "n", .help = "h", .fallback = 7}); }) == 7);
}

TEST_CASE("An unknown name is answered with the known ones and the nearest") {
  CHECK(error_of("\"dualpip\"", choice) ==
        "x.json: part.k: unknown 'dualpip' (known: gpipe, 1f1b, dualpipe; did you mean 'dualpipe'?)");
  CHECK(error_of("\"zzz\"", choice) == "x.json: part.k: unknown 'zzz' (known: gpipe, 1f1b, dualpipe)");
}

TEST_CASE("A key that nobody read is an error, but about and source may stand anywhere") {
  const auto finish = [](Reader& r) {
    r.integer({.name = "devices", .help = "h", .fallback = 1});
    r.has("unseen");
    r.finish();
  };
  CHECK(error_of("1", finish) == "x.json: part.k: unknown key (known: devices)");
  CHECK(error_of("1, \"device\": 2", [](Reader& r) {
          r.raw("k", "h");
          r.integer({.name = "devices", .help = "h", .fallback = 1});
          r.finish();
        }) == "x.json: part.device: unknown key (known: devices, k; did you mean 'devices'?)");
  CHECK(error_of("1, \"kind\": \"x\"", [](Reader& r) {
          r.raw("k", "h");
          r.finish();
        }) == "x.json: part.kind: unknown key (known: k)");
  CHECK(error_of("1, \"about\": \"x\", \"source\": \"y\", \"sources\": {\"k\": \"z\"}", [](Reader& r) {
          r.raw("k", "h");
          r.finish();
        }) == "no error");
}

TEST_CASE("The nearest name is one that a slip of the finger explains") {
  const std::vector<std::string> known{"pipeline", "expert", "tensor", "dp"};
  CHECK(nearest_name("pipline", known) == "pipeline");
  CHECK(nearest_name("exprt", known) == "expert");
  CHECK(nearest_name("tp", known) == "dp");
  CHECK(nearest_name("xx", known).empty());
  CHECK(nearest_name("colour", known).empty());
}

TEST_CASE("A part is an object in place or a file, and errors inside name the place where it stands") {
  const Folder folder("reader");
  folder.write("device.json", R"({"memory": "80 GB", "speed": 1})");
  folder.write("cluster.json",
               R"({"device": "device.json", "list": [{"n": 1}, {"n": 0}], "wrong": 3, "gone": "no.json"})");
  const Value document = load_document(folder.at("cluster.json"));
  Reader cluster(document, "");
  const auto message = [&](const std::function<void()>& act) {
    try {
      act();
    } catch (const InputError& error) {
      return folder.shorten(error.what());
    }
    return std::string("no error");
  };
  Reader device = cluster.part("device", "h");
  CHECK(device.bytes({.name = "memory", .help = "h"}) == Bytes{80'000'000'000});
  CHECK(message([&] { device.finish(); }) == "device.json: speed: unknown key (known: memory)");
  std::vector<Reader> items = cluster.items("list", "h");
  CHECK(items.size() == 2);
  CHECK(message([&] { items[1].integer({.name = "n", .help = "h", .at_least = 1}); }) ==
        "cluster.json: list.1.n: is 0, expected at least 1");
  CHECK(message([&] { cluster.part("wrong", "h"); }) ==
        "cluster.json: wrong: 3 is neither an object nor a file name");
  CHECK(message([&] { cluster.part("gone", "h"); }) ==
        "cluster.json: gone: 'no.json' is no file here or in a folder above, nor an object");
  CHECK_FALSE(cluster.optional_part("none", "h").has_value());
}

TEST_CASE("A reader that notes tells each key it was asked for by its whole path, through lists and files") {
  const Folder folder("reader-notes");
  folder.write("device.json", R"({"memory": "80 GB"})");
  folder.write("cluster.json", R"({"device": "device.json", "list": [{"n": 1}], "part": {"flag": true}})");
  const Value document = load_document(folder.at("cluster.json"));
  std::vector<Declaration> notes;
  Reader reader = Reader::noting(document, notes);
  CHECK(reader.integer({.name = "absent", .help = "h", .fallback = 7}) == 7);
  CHECK(reader.part("device", "h").bytes({.name = "memory", .help = "h"}) == Bytes{80'000'000'000});
  for (Reader& item : reader.items("list", "h")) item.integer({.name = "n", .help = "h"});
  CHECK(reader.part("part", "h").flag({.name = "flag", .help = "h"}));
  std::vector<std::string> names;
  for (const Declaration& note : notes) names.push_back(note.name);
  CHECK(names == std::vector<std::string>{"absent", "device", "device.memory", "list", "list.0.n", "part",
                                          "part.flag"});
  CHECK(notes[0].fallback == "7");
}

TEST_CASE("A described reader answers legally and records each key once") {
  std::vector<Declaration> keys;
  Reader reader = Reader::describing(keys);
  CHECK(reader.integer({.name = "n", .help = "how many", .at_least = 3}) == 3);
  CHECK(reader.rate({.name = "r", .help = "how fast", .fallback = 50_GBps}) == 50_GBps);
  CHECK(reader.is_describing());
  CHECK_NOTHROW(reader.finish());
  REQUIRE(keys.size() == 2);
  CHECK(keys[0].name == "n");
  CHECK(keys[0].required);
  CHECK(keys[0].bounds == "at least 3");
  CHECK(keys[1].fallback == "\"50 GB/s\"");
  CHECK_FALSE(keys[1].required);
}
