// The example of docs/extending.md: compiled from docs/examples, held to the page, and run.
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "tests/support/orders.hpp"

namespace moesim {
extern const Entry<Schedule> in_groups_schedule;
}

using namespace moesim;
using Catch::Matchers::Message;

namespace {

constinit const Entry<Schedule>* const own_register[] = {&in_groups_schedule};

std::unique_ptr<const Schedule> in_groups(std::int64_t size) {
  return testing::schedule_of(fmt::format(R"({{"kind": "in_groups", "group": {}}})", size), own_register);
}

}  // namespace

TEST_CASE("The example schedule of the docs is the file that is compiled here") {
  const std::string page = read_file(MOESIM_SOURCE "/docs/extending.md");
  const std::string code = read_file(MOESIM_SOURCE "/docs/examples/in_groups.cpp");
  CHECK(page.find("```cpp\n" + code + "```\n") != std::string::npos);
}

TEST_CASE("The example schedule keeps its group alive and has the bubble of a pipeline in each group") {
  for (const std::int64_t p : {1, 2, 5, 8}) {
    for (const std::int64_t size : {1, 2, 3, 8}) {
      const PipelineShape shape{.ranks = p,
                                .microbatches = 5 * size,
                                .forward = Time{7},
                                .backward_input = Time{5},
                                .backward_weight = Time{3},
                                .send = {}};
      const Order order = in_groups(size)->order(shape);
      CHECK_NOTHROW(check(order));
      CHECK(replay(order, testing::durations_of(shape)).makespan == Time{5 * (size + p - 1) * (7 + 5 + 3)});
      for (const std::vector<Slot>& rank : order.ranks) CHECK(peak_in_flight(rank) == size);
    }
  }
}

TEST_CASE("The example schedule serves a last group that is not full") {
  const Order order = in_groups(4)->order({.ranks = 3, .microbatches = 10});
  CHECK_NOTHROW(check(order));
}

TEST_CASE("The example schedule declares its key") {
  const std::vector<Declaration> keys = describe_member(in_groups_schedule);
  REQUIRE(keys.size() == 1);
  CHECK(keys[0].name == "group");
  CHECK(keys[0].fallback == "2");
  CHECK_THROWS_MATCHES(in_groups(0), InputError,
                       Message("schedule of a test: schedule.group: is 0, expected 1 to 1024"));
}
