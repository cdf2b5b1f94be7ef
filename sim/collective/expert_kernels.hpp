// Libraries whose kernels exchange tokens: multiprocessors copy rows into NVLink and into the buffers of
// NICs, and how many of them there are bounds how fast that goes.
#pragma once

#include <string_view>

#include "sim/collective/settings.hpp"

namespace moesim {

/// What one multiprocessor takes for each row that it handles.
struct RowCopy {
  Time each;     ///< to look up where it goes
  Rate rate{1};  ///< at which it copies
  double seconds(double row) const { return to_seconds(each) + row / rate.count; }
};

/// Kernels of one direction.
struct ExchangeKernel {
  Time startup;                  ///< launch, and barriers of the ranks before and after
  RowCopy to_node, to_rank;      ///< a token once for each node, and once for each rank, that it goes to
  bool enters_own_node = false;  ///< whether a token costs `to_node` where all ranks are on its node, too
};

/// A library.
struct ExpertLibrary {
  std::string_view name;
  ExchangeKernel out, home;
  /// Before rows go out for the first time: multiprocessor kernels that count where the tokens of a rank go,
  /// for each token, and the pause until a host that reads the counts has launched what comes next.
  Time count_each, host_pause;
  double nic_share = 1, nvlink_share = 1;  ///< of the links' rates, however many multiprocessors there are
  /// Of the shorter of the time in multiprocessors and the time on NVLink, what the longer does not hide:
  /// stores wait for room on the way. NICs fetch rows by themselves, and hide it all.
  double unhidden = 0;
  std::int64_t multiprocessors = 1;  ///< that it takes by default
  ExchangeBuffers buffers = ExchangeBuffers::queues;
};

/// An all-to-all of a library's kernels: tokens cross to each node once (rail_flows.hpp). Reads "startup",
/// "combine_startup", "efficiency", "nvlink_efficiency" and "host_waits".
std::unique_ptr<const Collective> make_expert_kernels(Reader& reader, ExpertLibrary library);

}  // namespace moesim
