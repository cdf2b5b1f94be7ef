// What decides loads: skew from draws and files, balance, and whether one rank may stand for all.
#include "models/routing/router.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "models/base/error.hpp"
#include "models/routing/balance.hpp"
#include "tests/support/folder.hpp"
#include "tests/support/routers.hpp"

using namespace moesim;

namespace {

/// A router that replays a file, named in a scenario beside it.
Router replaying(const std::string& file) {
  return router_of(R"({"kind": "top_k", "skew": {"kind": "replay", "file": ")" + file + R"("}})");
}

std::vector<double> sorted(std::vector<double> values) {
  std::sort(values.rbegin(), values.rend());
  return values;
}

const Gate four{.experts = 4, .top_k = 2};

}  // namespace

TEST_CASE("Zipf popularity falls as n to the exponent, and other experts are hot in other layers") {
  const Router made = router_of(R"({"kind": "top_k", "skew": {"kind": "zipf", "exponent": 0.8}})");
  const Gate gate{.experts = 64, .top_k = 2};
  const std::vector<double> shares = sorted(made.popularity(gate, 0, 0));
  for (std::size_t n = 0; n < 64; ++n) {
    CHECK(shares[n] / shares[0] == Approx(std::pow(static_cast<double>(n + 1), -0.8)).epsilon(1e-9));
  }
  CHECK(made.popularity(gate, 0, 0) == made.popularity(gate, 0, 7));
  CHECK(made.popularity(gate, 0, 0) != made.popularity(gate, 1, 0));
  CHECK(sorted(made.popularity(gate, 1, 0))[0] == Approx(shares[0]).epsilon(1e-12));
}

TEST_CASE("Dirichlet shares stray by their formula and vary as told") {
  const Gate gate{.experts = 32, .top_k = 2};
  for (const double concentration : {0.3, 1.0, 20.0}) {
    const Router made = router_of(fmt::format(
        R"({{"kind": "top_k", "skew": {{"kind": "dirichlet", "concentration": {}}}}})", concentration));
    double squares = 0;
    constexpr int layers = 2000;
    for (int layer = 0; layer < layers; ++layer) {
      const std::vector<double> shares = made.popularity(gate, layer, 0);
      REQUIRE(std::accumulate(shares.begin(), shares.end(), 0.0) == Approx(1).epsilon(1e-12));
      squares += (balancing_loss(shares) - 1) / layers;  // deviation over mean, squared
    }
    CHECK(squares == Approx(31 / (concentration * 32 + 1)).epsilon(0.05));
    CHECK(made.popularity(gate, 3, 0) == made.popularity(gate, 3, 1));
  }
  const Router varying =
      router_of(R"({"kind": "top_k", "skew": {"kind": "dirichlet", "varies": "microbatch"}})");
  CHECK(varying.popularity(gate, 3, 0) != varying.popularity(gate, 3, 1));
}

TEST_CASE("Measured loads are replayed from CSV and JSON alike, and other layers take them in turn") {
  const Folder folder("replay");
  const std::string csv = folder.write(
      "loads.csv",
      "# measured\nlayer,expert,tokens\n3,0,10\n3,1,30\n3,2,0\n3,3,60\r\n7,3,1\n7,2,1\n7,0,1\n7,1,1\n");
  const std::string json = folder.write(
      "loads.json",
      R"({"source": "x", "layers": [{"layer": 3, "tokens": [10, 30, 0, 60]}, {"layer": 7, "tokens": [1, 1, 1, 1]}]})");
  for (const std::string& file : {csv, json}) {
    const Router made = replaying(file);
    const std::vector<double> third = {0.1, 0.3, 0.0, 0.6};
    const std::vector<double> even(4, 0.25);
    CHECK(made.popularity(four, 3, 0) == third);
    CHECK(made.popularity(four, 7, 5) == even);
    CHECK(made.popularity(four, 4, 0) == third);
    CHECK(made.popularity(four, 5, 0) == even);
    // Expert 3 would get 1.2 rows a token, but has only one place for each: what is over goes to 0 and 1 as 1
    // to 3.
    const Loads loads = made.loads(four, 3, 0, 0, 1, 100);
    CHECK(loads.rows == std::vector<std::int64_t>{25, 75, 0, 100});
  }
}

TEST_CASE("Loads are replayed microbatch by microbatch, and those that the file lacks take its own in turn") {
  const Folder folder("replay");
  const std::string csv = folder.write(
      "loads.csv", "layer,microbatch,expert,tokens\n2,0,0,3\n2,0,1,1\n2,1,0,1\n2,1,1,3\n5,0,0,1\n5,0,1,1\n");
  const std::string json = folder.write("loads.json", R"({"layers": [{"layer": 2, "tokens": [3, 1]},
    {"layer": 2, "microbatch": 1, "tokens": [1, 3]}, {"layer": 5, "tokens": [1, 1]}]})");
  const Gate two{.experts = 2, .top_k = 1};
  for (const std::string& file : {csv, json}) {
    const Router made = replaying(file);
    CHECK(made.varies());
    CHECK(made.popularity(two, 2, 0) == std::vector{0.75, 0.25});
    CHECK(made.popularity(two, 2, 1) == std::vector{0.25, 0.75});
    CHECK(made.popularity(two, 2, 4) == std::vector{0.75, 0.25});
    CHECK(made.popularity(two, 5, 1) == std::vector{0.5, 0.5});
    CHECK(made.popularity(two, 4, 1) == std::vector{0.25, 0.75});  // the file's first layer, of two
    CHECK(made.loads(two, 2, 0, 0, 1, 8).rows == std::vector<std::int64_t>{6, 2});
    CHECK(made.loads(two, 2, 1, 0, 1, 8).rows == std::vector<std::int64_t>{2, 6});
  }
  CHECK_FALSE(replaying(folder.write("one.csv", "layer,expert,tokens\n0,0,1\n0,1,2\n")).varies());
}

TEST_CASE("Replayed loads of another number of experts are refused") {
  const Folder folder("replay");
  const Router made = replaying(folder.write("loads.csv", "layer,expert,tokens\n0,0,1\n0,1,1\n"));
  std::string message;
  try {
    made.check(four);
  } catch (const InputError& error) {
    message = folder.shorten(error.what());
  }
  CHECK(message == "loads.csv holds loads of 2 experts, expected the model's 4");
}

TEST_CASE("A wrong file of loads is refused with its line") {
  const Folder folder("replay");
  const auto error_of = [&](const std::string& name, const std::string& text) -> std::string {
    try {
      static_cast<void>(replaying(folder.write(name, text)));
    } catch (const InputError& error) {
      return folder.shorten(error.what());
    }
    return "";
  };
  const std::string header = "layer,expert,tokens\n";
  CHECK(error_of("a.csv", "layer,tokens\n") ==
        "a.csv: line 1: holds 'layer,tokens', expected the header 'layer,expert,tokens' or "
        "'layer,microbatch,expert,tokens'");
  CHECK(error_of("a.csv", header + "1,2\n") == "a.csv: line 2: holds '1,2', expected 'layer,expert,tokens'");
  CHECK(error_of("a.csv", header + "0,0,1\n0,1,many\n") ==
        "a.csv: line 3: holds 'many', expected a number of tokens");
  CHECK(error_of("a.csv", header + "0,-1,1\n") == "a.csv: line 2: holds '-1', expected an expert's number");
  CHECK(error_of("a.csv", header + "0,0,1,4\n") == "a.csv: line 2: holds '1,4', expected a number of tokens");
  CHECK(error_of("a.csv", header + "0,0,1\n0,0,2\n") == "a.csv: line 3: names expert 0 of layer 0 twice");
  CHECK(error_of("a.csv", header + "0,0,1\n1,0,1\n0,1,2\n") ==
        "a.csv: line 4: goes back to layer 0, expected layer by layer");
  const std::string each = "layer,microbatch,expert,tokens\n";
  CHECK(error_of("a.csv", each + "0,0,1\n") ==
        "a.csv: line 2: holds '0,0,1', expected 'layer,microbatch,expert,tokens'");
  CHECK(error_of("a.csv", each + "0,0,0,1\n0,2,0,1\n") ==
        "a.csv: line 3: has microbatch 2 of layer 0, expected 1");
  CHECK(error_of("a.csv", each + "0,1,0,1\n") ==
        "a.csv: line 2: begins layer 0 with microbatch 1, expected 0");
  CHECK(error_of("a.csv", header) ==
        "a.csv: line 1: ends, expected a row 'layer,expert,tokens' for each expert of a layer");
  CHECK(error_of("a.csv", header + "0,1,1\n") == "a.csv: layer 0 lacks expert 0");
  CHECK(error_of("a.csv", header + "0,0,0\n") == "a.csv: layer 0 has no tokens");
  CHECK(error_of("a.csv", header + "0,0,1\n1,0,1\n1,1,1\n") ==
        "a.csv: layer 1 has 2 experts, expected 1 as in layer 0");
  CHECK(error_of("a.json", R"({"layers": []})") == "a.json: layers: is empty, expected at least one layer");
  CHECK(error_of("a.json", R"({"layers": [{"layer": 1, "tokens": [1]}, {"layer": 1, "tokens": [2]}]})") ==
        "a.json: layers.1.layer: has microbatch 0 of layer 1, expected 1");
  CHECK_THROWS_WITH(replaying("nowhere.csv"),
                    "test: routing.skew.file: 'nowhere.csv' is no file here or in a folder above");
}

TEST_CASE("One rank stands for all where nothing is skewed or drawn, or where buffers are padded") {
  struct Case {
    std::string keys;
    std::int64_t top_k;
    bool even, varies;
  };
  const Case cases[] = {
      {R"("kind": "balanced")", 2, true, false},
      {R"("kind": "top_k")", 2, true, false},
      {R"("kind": "top_k", "skew": {"kind": "zipf", "exponent": 0})", 2, true, false},
      {R"("kind": "top_k", "skew": {"kind": "zipf"})", 2, false, false},
      {R"("kind": "top_k", "skew": {"kind": "zipf"}, "balance": 1)", 2, true, false},
      {R"("kind": "group_limited", "skew": {"kind": "dirichlet", "varies": "microbatch"})", 2, false, true},
      {R"("kind": "group_limited", "skew": {"kind": "dirichlet", "varies": "microbatch"}, "balance": 1)", 2,
       true, false},
      {R"("kind": "switch", "skew": {"kind": "zipf"})", 1, true, true},
      {R"("kind": "switch", "padded": false)", 1, false, true},
      {R"("kind": "gshard")", 2, true, true},
      {R"("kind": "gshard", "padded": false, "skew": {"kind": "none"}, "balance": 1)", 2, false, true},
  };
  for (const Case& at : cases) {
    INFO(at.keys);
    const Router made = router_of("{" + at.keys + "}");
    const Gate gate{.experts = 16, .top_k = at.top_k};
    CHECK(made.is_even(gate, 64) == at.even);
    CHECK(made.varies() == at.varies);
    if (at.varies) continue;
    CHECK(made.loads(gate, 2, 0, 0, 4, 64).rows == made.loads(gate, 2, 9, 3, 4, 64).rows);
  }
}

TEST_CASE("Balanced routing with a skew is refused, as nothing would come of it") {
  CHECK_THROWS_WITH(router_of(R"({"skew": {"kind": "zipf"}})"),
                    "test: routing.skew: is given, but 'balanced' routing has none (with skew: top_k, "
                    "group_limited, switch, gshard)");
  CHECK_NOTHROW(router_of(R"({"skew": {"kind": "none"}})"));
}

TEST_CASE("The measures of balance are those of the papers") {
  const std::vector<double> even(8, 3.0);
  const std::vector<double> one_of_eight = {8, 0, 0, 0, 0, 0, 0, 0};
  CHECK(max_over_mean(even) == 1);
  CHECK(max_over_mean(one_of_eight) == 8);
  CHECK(balancing_loss(even) == Approx(1));
  CHECK(balancing_loss(one_of_eight) == Approx(8));
  CHECK(balance_between(3, 1.5) == Approx(0.75));
  CHECK(balance_between(1, 1) == 0);
}
