// Published figures beside simulated ones: errors, verdicts and summaries.
#include "sim/write/validation.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "models/config/value.hpp"

using namespace moesim;

namespace {

JudgedCase judged(double published, double simulated, double tolerance, const std::string& group = "one") {
  JudgedCase result;
  result.group = group;
  result.name = "case";
  result.figure = "step";
  result.unit = "s";
  result.published = published;
  result.simulated = simulated;
  result.tolerance = tolerance;
  return result;
}

}  // namespace

TEST_CASE("A case is within its tolerance up to it and not beyond, in both directions") {
  CHECK(judged(100, 110, 0.1 + 1e-12).is_within());
  CHECK(judged(100, 90, 0.1 + 1e-12).is_within());
  CHECK(!judged(100, 110.1, 0.1).is_within());
  CHECK(!judged(100, 89.9, 0.1).is_within());
  JudgedCase absolute = judged(0, 0.01, 0.01);
  absolute.is_absolute = true;
  CHECK(absolute.deviation() == 0.01);
  CHECK(absolute.is_within());
}

TEST_CASE("A case out of tolerance is a surprise unless it is known, and a failed run always is out") {
  JudgedCase out = judged(100, 200, 0.1);
  CHECK(out.is_surprise());
  out.known = "twice the work";
  CHECK(!out.is_surprise());
  JudgedCase failed = judged(100, 100, 0.1);
  failed.error = "the step takes no time";
  CHECK(!failed.is_within());
  CHECK(failed.is_surprise());
}

TEST_CASE("A group's summary is over the relative errors of its cases that ran") {
  Validation validation;
  for (const double simulated : {90.0, 101.0, 98.0, 120.0})
    validation.cases.push_back(judged(100, simulated, 0.1));
  validation.cases.push_back(judged(1, 1.5, 1));
  validation.cases.back().is_absolute = true;
  validation.cases.push_back(judged(100, 0, 0.1));
  validation.cases.back().error = "failed";
  validation.cases.push_back(judged(1, 1, 0.1, "another"));
  const std::vector<GroupSummary> groups = summarize_groups(validation);
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].cases == 6);
  CHECK(groups[0].within == 4);
  CHECK(groups[0].relative == 4);
  CHECK(groups[0].median == Approx((0.02 + 0.10) / 2));
  CHECK(groups[0].ninetieth == Approx(0.2));
  CHECK(groups[0].worst == Approx(0.2));
  CHECK(groups[0].mean == Approx((-0.1 + 0.01 - 0.02 + 0.2) / 4));
  CHECK(groups[1].worst == 0);
}

TEST_CASE("Ranks agree fully where all pairs are in order, and not at all where all are turned round") {
  Validation validation;
  for (int i = 1; i <= 4; ++i) validation.cases.push_back(judged(i, 10.0 * i, 1));
  CHECK(rank_agreement(validation, "one").tau == Approx(1));
  CHECK(rank_agreement(validation, "one").pairs == 6);
  for (JudgedCase& one : validation.cases) one.simulated = -one.simulated;
  CHECK(rank_agreement(validation, "one").tau == Approx(-1));
  CHECK(rank_agreement(validation, "none").pairs == 0);
  // Figures of different kinds are not compared: the only pair left is in order.
  validation.cases.resize(2);
  validation.cases.push_back(judged(5, 1, 1));
  validation.cases[2].figure = "mfu";
  CHECK(rank_agreement(validation, "one").pairs == 1);
}

TEST_CASE("The tables say what is out of tolerance, what is known of it, and what failed") {
  Validation validation;
  validation.cases = {judged(100, 101, 0.1), judged(100, 200, 0.1), judged(100, 300, 0.1), judged(1, 1, 0.1),
                      judged(1, 1, 0.1)};
  validation.cases[2].known = "the network is slower";
  validation.cases[3].error = "does not divide";
  validation.cases[4].known = "once";
  const std::string text = write(tell(validation), "text");
  CHECK(text.find("+100.0 %      10 %  OUT\n") != std::string::npos);
  CHECK(text.find("out, known\n") != std::string::npos);
  CHECK(text.find("case: the network is slower\n") != std::string::npos);
  CHECK(text.find("case: does not divide\n") != std::string::npos);
  CHECK(text.find("within again\n") != std::string::npos);
  const Value json = parse_json(write(tell(validation), "json"), "json");
  CHECK(json.find("schema")->text == "moesim.validate/1");
  CHECK(json.find("cases")->items.size() == 5);
  CHECK(json.find("cases")->items[3].find("simulated") == nullptr);
  CHECK(json.find("groups")->items[0].find("within")->integer == 2);
  const std::string csv = write(tell(validation), "csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 6);
}

TEST_CASE("What lies inside its bars is counted by groups, of cases of which an error was expected") {
  Validation validation;
  for (const double simulated : {100.0, 110.0, 130.0}) {
    validation.cases.push_back(judged(100, simulated, 0.5));
    validation.cases.back().expected = 0.1;  // bars of 12.8 %, in logarithms
  }
  validation.cases.push_back(judged(100, 500, 0.5));
  validation.cases.push_back(judged(100, 100, 0.5, "nothing expected"));
  validation.calibrations.push_back({.of = "blocks", .inside = 1, .all = 2});
  const std::vector<Coverage> all = coverage_of(validation);
  REQUIRE(all.size() == 2);
  CHECK(all[0].of == "one");
  CHECK(all[0].inside == 2);
  CHECK(all[0].all == 3);
  CHECK(all[1].of == "blocks");
}
