// The first rank's hold on the others, without MPI.
#include "sim/sweep/fleet.hpp"

#include <catch2/catch.hpp>

#include "models/base/error.hpp"

using namespace moesim;

namespace {

/// Two ranks, of which the other one only listens.
class Silent final : public Ranks {
 public:
  explicit Silent(std::vector<std::string>& heard) : heard_(heard) {}
  int rank() const override { return 0; }
  int count() const override { return 2; }
  void send(int, const std::string& text) const override { heard_.push_back(text); }
  std::optional<Letter> receive() const override { return std::nullopt; }

 private:
  std::vector<std::string>& heard_;
};

void wait_for_end(Foreman& foreman) {
  for (;;) foreman.hear(1000);
}

}  // namespace

TEST_CASE("Points go to the other ranks where the first one's own process has ended") {
  std::vector<std::string> heard;
  const Silent ranks(heard);
  Foreman foreman(SweepRequest{.path = "x.json", .overrides = {}, .axes = {}});
  foreman.tell("no scenario");
  REQUIRE_THROWS_AS(wait_for_end(foreman), RunError);
  Fleet fleet(ranks, foreman, 4);
  for (const std::size_t point : {7U, 8U, 9U}) fleet.add(point);
  CHECK(fleet.count() == 3);
  CHECK(heard == std::vector<std::string>{"7", "8", "9"});
}
