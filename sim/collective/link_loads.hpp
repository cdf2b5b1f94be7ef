// What traffic puts on the links of a fabric. Said once: lowering, the estimate of a search and algorithms
// that choose by time all ask here.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "sim/collective/collective.hpp"
#include "sim/collective/routes.hpp"

namespace moesim {

/// What traffic does on its way, beyond what its algorithm says.
struct Journey {
  double busiest = 1;    ///< what the most loaded member carries over the mean: everybody waits for it
  bool returns = false;  ///< every flow goes the other way: rows go back where they came from
};

/// What one link has to do for some traffic.
struct LinkWork {
  LinkId link = 0;
  double bytes = 0;  ///< that it carries
  double load = 0;   ///< bytes that take as long at its full rate: bytes x busiest / efficiency
};

/// Who wants to know what each flow does.
class FlowWatcher {
 public:
  virtual ~FlowWatcher() = default;
  /// The share of a flow that goes one of its ways, and what it puts on the links there.
  virtual void way(const Flow& flow, double share, std::span<const LinkWork> works) = 0;
};

/// What a link carries.
struct LinkBytes {
  LinkId link = 0;
  double bytes = 0;
};
/// Of a few flows on what may be a wide fabric: the links that they use, each once.
std::vector<LinkBytes> bytes_by_link(std::span<const Flow> flows, const Fabric& fabric);

/// Adds up traffic by link.
class LinkLoads {
 public:
  /// What the flows of some traffic come to.
  struct Sums {
    double sent = 0, received = 0;  ///< bytes over the first and the last link of each
    double flows = 0;
  };

  explicit LinkLoads(const Fabric& fabric);

  /// What is added from now on is of another group.
  void begin_group();
  /// Adds traffic of the group. With a watcher flow by flow, else as the fabric adds up exchanges.
  Sums add(const Traffic& traffic, const Journey& journey = {}, FlowWatcher* watcher = nullptr);
  /// The links that have work of the newest group, each once.
  std::span<const LinkId> links_of_group() const { return touched_by_group_; }
  /// Whether some link has work of two groups.
  bool meets() const { return meets_; }
  /// The links that have work, in the order in which they got it.
  std::span<const LinkId> links() const { return touched_; }
  double load(LinkId link) const { return work_[link].load; }
  /// Seconds that the slowest of them needs alone, at full rate.
  double seconds() const;
  /// What links have to do, by link. The next traffic then finds them free.
  void take(std::vector<LinkWork>& works);
  void clear();

 private:
  /// How the flows of some traffic go: the shares of the links' rates that they reach, and who remembers and
  /// who sees their routes.
  struct Way {
    struct Efficiency {
      double nvlink = 1, other = 1;
    } efficiency;
    Routes* routes = nullptr;
    FlowWatcher* watcher = nullptr;
  };
  struct Work {
    double bytes = 0, load = 0;
    std::uint32_t group = 0;  ///< the last that loads it
  };

  void add(const Flow& flow, const Way& way, Sums& sums);
  void add(const Exchange& exchange, const Way& way, Sums& sums);
  void add(LinkId link, double bytes, double load);

  const Fabric& fabric_;
  std::vector<Work> work_;  // by link
  std::vector<LinkId> touched_, touched_by_group_;
  std::vector<std::uint8_t> is_nvlink_;  // by link
  std::vector<double> load_of_exchange_;
  std::vector<LinkWork> works_of_way_;
  std::array<Routes, 2> routes_;  // of flows, and of flows that return
  std::uint32_t group_ = 0;       // that is being added
  bool meets_ = false;
};

}  // namespace moesim
