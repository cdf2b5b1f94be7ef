#include "sim/run/in_parallel.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <vector>

using namespace moesim;

TEST_CASE("Every piece of work is done once, with any number of jobs") {
  for (const unsigned jobs : {0U, 1U, 2U, 7U, 100U}) {
    std::vector<int> done(20);
    in_parallel(done.size(), jobs, [&](std::size_t piece, std::size_t thread) {
      if (thread < std::max(1U, jobs)) ++done[piece];
    });
    CHECK(done == std::vector<int>(20, 1));
  }
  in_parallel(0, 4, [](std::size_t, std::size_t) { throw std::logic_error("there is no work"); });
}

TEST_CASE("Of pieces that fail the first is told, and the others are done all the same") {
  std::vector<int> done(8);
  const auto work = [&](std::size_t piece, std::size_t) {
    if (piece == 2 || piece == 5) throw std::runtime_error(piece == 2 ? "second" : "fifth");
    done[piece] = 1;
  };
  CHECK_THROWS_WITH(in_parallel(done.size(), 3, work), "second");
  CHECK(done == std::vector<int>{1, 1, 0, 1, 1, 0, 1, 1});
}
