// Who sends how many bytes to whom in one communication, as flows between devices. A collective knows no
// time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/base/units.hpp"
#include "models/cluster/fabric.hpp"
#include "models/config/family.hpp"

namespace moesim {

class RankReach;

/// What is asked of a group of devices.
enum class Operation : std::uint8_t {
  all_to_all,
  all_reduce,
  reduce_scatter,
  all_gather,
  point_to_point,
  reduce,     ///< the sum to group[0]
  broadcast,  ///< from group[0] to all others
};
inline constexpr std::string_view operation_names[] = {
    "all_to_all", "all_reduce", "reduce_scatter", "all_gather", "point_to_point", "reduce", "broadcast"};

/// Which rows an all-to-all takes where.
enum class Leg : std::uint8_t {
  out,    ///< to experts for the first time: nobody knows yet how many come from where
  home,   ///< back, where those of one token are added up
  again,  ///< to the same experts once more, as many as before
};
inline constexpr std::size_t leg_count = 3;

/// Buffers that exchanges of tokens go through.
enum class ExchangeBuffers : std::uint8_t {
  channels,  ///< those of a communicator
  queues,    ///< queues of some tokens for each peer, as DeepEP's
  whole,     ///< room for all tokens of the group, as HybridEP's
};

/// One communication of one group.
struct Request {
  Operation operation = Operation::all_reduce;
  std::span<const DeviceId> group{};  ///< in the order of the group's ranks
  /// all_reduce, reduce, broadcast: the whole buffer. reduce_scatter, all_gather: the whole, unsharded
  /// buffer. point_to_point: from group[0] to group[1]. all_to_all: one row.
  Bytes bytes;
  double rows_per_rank = 0;          ///< all_to_all: rows that each rank sends to each rank (itself included)
  double reached_rows_per_rank = 0;  ///< all_to_all: the same when rows for one rank are sent once
  double reached_rows_per_node =
      0;  ///< all_to_all: rows from each rank to each node when rows for a node are sent once
  /// all_to_all where ranks differ: rows [source][rank], by the ranks of the group; empty where they do not.
  std::span<const std::int64_t> rows{};
  /// With `rows`: which ranks a token goes to. Without it rows that go to one rank or node once are those of
  /// the matrix there, scaled as the even ones are (reached / rows), and never more than the source's tokens.
  const RankReach* reach = nullptr;
  double limited_to_ranks = 1;       ///< ranks that the policy lets a token reach over those of a free choice
  double limited_to_nodes = 1;       ///< the same of nodes
  double tokens = 0;                 ///< all_to_all: of one source
  Leg leg = Leg::out;                ///< all_to_all
  std::int64_t multiprocessors = 0;  ///< that its kernels have, where it is their work to copy
};

/// all_to_all: rows that go from a source to a rank (both by their place in the group), each as often as it
/// has experts there, or once.
double rows_between(const Request& request, std::size_t source, std::size_t rank, bool once);

/// all_to_all with `reach`: tokens of a source that go to one of these ranks.
double rows_to(const Request& request, std::span<const std::size_t> ranks, double limited);

/// Bytes from one device to another.
struct Flow {
  DeviceId from = 0;
  DeviceId to = 0;
  double bytes = 0;
};

/// The same bytes from each member of a group to each other. Of n members these are n (n-1) flows, which a
/// fabric may know how to add up without looking at each.
struct Exchange {
  std::vector<DeviceId> group;
  double bytes = 0;  ///< of one flow
  std::int64_t flow_count() const {
    return static_cast<std::int64_t>(group.size()) * (static_cast<std::int64_t>(group.size()) - 1);
  }
};

/// The traffic of one communication: all flows go at once, after the latency of its rounds.
struct Traffic {
  std::vector<Flow> flows;
  std::vector<Exchange> exchanges = {};  ///< beside `flows`
  Time latency;                          ///< start-up and rounds: what a message of no bytes would take
  double efficiency = 1;                 ///< share of the links' rates that this implementation reaches
  double nvlink_efficiency = 0;          ///< the same on NVLink; 0: as on other links
  std::int64_t messages = 0;
};

/// All flows of some traffic, exchanges written out: sources in the order of the group, then destinations.
std::vector<Flow> all_flows(const Traffic& traffic);

/// An algorithm for some of the operations. A family.
class Collective {
 public:
  virtual ~Collective() = default;
  /// The traffic of a request. Throws InputError for an operation that the algorithm does not do.
  virtual Traffic plan(const Request& request, const Fabric& fabric) const = 0;
  virtual ExchangeBuffers buffers() const { return ExchangeBuffers::channels; }
  /// Multiprocessors that its kernels take where nobody says how many; 0: none that it knows of.
  virtual std::int64_t usual_multiprocessors() const { return 0; }
  /// Whether rows that go out for the first time are counted before: that leg is unlike `again`.
  virtual bool counts_rows() const { return false; }
  /// Whether the host reads these counts, and launches nothing until it has.
  virtual bool host_waits() const { return false; }
};

/// The members of the family.
Register<Collective> collectives();

}  // namespace moesim
