#include <unistd.h>
#include <catch2/catch.hpp>

#include <csignal>
#include <new>

#include "models/base/error.hpp"
#include "sim/engine/apart.hpp"

using namespace moesim;

TEST_CASE("A run apart fills in the timeline and changes nothing else") {
  int here = 1;
  const Timeline timeline = run_apart(3, [&](const Spans& spans) {
    here = 2;
    for (std::size_t i = 0; i < 3; ++i) {
      spans.starts[i] = Time{static_cast<std::int64_t>(i)};
      spans.ends[i] = Time{static_cast<std::int64_t>(10 * i)};
    }
    return std::uint64_t{7};
  });
  CHECK(here == 1);
  CHECK(timeline.events == 7);
  CHECK(timeline.starts == std::vector<Time>{Time{0}, Time{1}, Time{2}});
  CHECK(timeline.ends == std::vector<Time>{Time{0}, Time{10}, Time{20}});
}

TEST_CASE("What a run apart throws is thrown here") {
  const auto failing = [](auto error) { return [error](const Spans&) -> std::uint64_t { throw error; }; };
  CHECK_THROWS_WITH(run_apart(0, failing(RunError("no way"))), "no way");
  CHECK_THROWS_AS(run_apart(0, failing(RunError("no way"))), RunError);
  CHECK_THROWS_AS(run_apart(0, failing(std::bad_alloc())), std::bad_alloc);
  CHECK_THROWS_AS(run_apart(0, failing(std::invalid_argument("odd"))), std::logic_error);
  CHECK_THROWS_WITH(run_apart(0, failing(RunError(std::string(9000, 'x')))), std::string(4095, 'x'));
}

TEST_CASE("A run apart that is killed or leaves early is an error, not a timeline") {
  CHECK_THROWS_WITH(run_apart(1, [](const Spans&) -> std::uint64_t { _exit(3); }),
                    "the process of the run ended with status 3");
  CHECK_THROWS_WITH(run_apart(1,
                              [](const Spans&) -> std::uint64_t {
                                kill(getpid(), SIGKILL);
                                return 0;
                              }),
                    "the process of the run was ended by signal 9");
}
