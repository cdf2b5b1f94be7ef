#include "exchange.hpp"
#include "selftest_support.hpp"

namespace measure::selftest {

/// What goes out to the experts of other GPUs comes back.
void test_exchange() {
  int devices = 0;
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  const Processes processes(false);
  if (devices < 2)
    return static_cast<void>(std::printf("dispatch and combine: not tested, there is one GPU\n"));
  const Team team(processes, std::size_t{1} << 20);
  if (!map_all(team))
    return static_cast<void>(std::printf("dispatch and combine: not tested, no peer memory\n"));
  constexpr Int tokens = 37, hidden = 264;
  const Exchange exchange(team, tokens, hidden, 8);
  exchange.dispatch();
  team.finish();
  exchange.combine();
  team.finish();
  for (std::size_t rank = 0; rank < team.own().size(); ++rank)
    compare("dispatch and combine, GPU " + std::to_string(rank),
            read_bf16(exchange.output(rank), size(tokens * hidden)),
            read_bf16(exchange.input(rank), size(tokens * hidden)), 1e-2);
}

}  // namespace measure::selftest
