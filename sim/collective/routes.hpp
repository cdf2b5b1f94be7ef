// The routes of flows that come in the same order time and again, as those of one exchange after another do:
// each is remembered by its place in that order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/cluster/fabric.hpp"

namespace moesim {

/// One of the ways from a device to another.
struct Route {
  std::span<const LinkId> links;  ///< until the next route is asked for
  std::uint32_t ways = 1;         ///< that there are
  bool leaves = false;            ///< its first link begins at the one device
  bool arrives = false;           ///< its last one ends at the other
};

/// Returns routes of a fabric.
class Routes {
 public:
  explicit Routes(const Fabric& fabric) : fabric_(fabric) {}
  /// The next route to be asked for is the first of the order.
  void restart() { next_ = 0; }
  Route next(DeviceId from, DeviceId to, std::uint32_t way) {
    if (next_ < known_.size()) {
      const Known& known = known_[next_];
      if (known.from == from && known.to == to && known.way == way) return ++next_, route_of(known);
    }
    return learn(from, to, way);
  }

 private:
  struct Known {
    DeviceId from, to;
    std::uint32_t way, ways;
    std::uint32_t first, end;  // into links_
    bool leaves, arrives;
  };

  Route learn(DeviceId from, DeviceId to, std::uint32_t way);
  Known find(DeviceId from, DeviceId to, std::uint32_t way);
  Route route_of(const Known& known) const {
    return {.links = std::span(links_).subspan(known.first, known.end - known.first),
            .ways = known.ways,
            .leaves = known.leaves,
            .arrives = known.arrives};
  }

  const Fabric& fabric_;
  std::vector<Known> known_;
  std::vector<LinkId> links_;
  std::size_t next_ = 0;
};

}  // namespace moesim
