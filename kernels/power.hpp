// What the device draws for mixes of operations, and the clock at which it then runs.
#pragma once

#include <string>
#include <vector>

#include "bench.hpp"

namespace measure {

/// So many calls of one operation in a row.
struct MixPart {
  Shape shape;
  int calls = 1;
  double alone_seconds = 0;  ///< of a call on a device that has rested
  double seconds = 0;        ///< of a call in the mix
};

/// Parts played in turn, over and over, with a pause after each round.
struct Mix {
  std::vector<MixPart> parts;
  double pause_share = 0;    ///< asked for, of the time
  double pause_seconds = 0;  ///< of a round
  double watts = 0, clock_mhz = 0;
};

/// What is drawn, in the order in which it was measured.
struct PowerTimes {
  double limit_watts = 0, idle_watts = 0;
  double response_seconds = 0;  ///< from idle until a large product is slower than it began
  std::vector<Mix> mixes;
};

/// Mixes that tell apart what a device draws for products, attention, memory, and while it runs anything.
std::vector<Mix> power_mixes();

/// Nothing where the driver tells no energy: then a note says so.
PowerTimes measure_power(Bench& bench, bool quick);

}  // namespace measure
