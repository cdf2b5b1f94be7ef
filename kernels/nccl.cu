// NCCL's collectives by size and number of ranks, and under MPI messages between each pair of processes.
#include "nccl.hpp"

#include <algorithm>
#include <cstdlib>

#include "late.hpp"
#include "peers.hpp"

#ifdef MEASURE_NCCL
#include <nccl.h>
#endif

namespace measure {

#ifdef MEASURE_NCCL

namespace {

void check(ncclResult_t status, const char* call,
           std::source_location where = std::source_location::current()) {
  if (status != ncclSuccess) throw DeviceError(failure(call, ncclGetErrorString(status), where));
}

/// A communicator of the first ranks of a team; the others do nothing. `blocks` above 0: its kernels have so
/// many.
class Communicator {
 public:
  Communicator(const Team& team, int ranks, int blocks = 0) : team_(team), ranks_(ranks) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    if (blocks > 0) config.minCTAs = config.maxCTAs = blocks;
    ncclUniqueId id{};
    if (team.processes().rank() == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    team.processes().share(&id, sizeof id);
    for (const Rank& rank : team.own()) comms_.resize(comms_.size() + (rank.number < ranks ? 1 : 0));
    check(ncclGroupStart(), "ncclGroupStart");
    for (std::size_t r = 0; r < comms_.size(); ++r) {
      measure::check(cudaSetDevice(team.own()[r].device), "cudaSetDevice");
      check(ncclCommInitRankConfig(&comms_[r], ranks, id, team.own()[r].number, &config),
            "ncclCommInitRankConfig");
    }
    check(ncclGroupEnd(), "ncclGroupEnd");
  }
  ~Communicator() {
    for (ncclComm_t comm : comms_) static_cast<void>(ncclCommDestroy(comm));
  }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  void run(const std::string& name, std::size_t bytes) const;
  /// A message, in both directions or there and back, between two ranks; others do nothing.
  void exchange(int a, int b, std::size_t bytes, bool both) const;
  void reply(int a, int b) const;

 private:
  void collective(std::size_t r, const std::string& name, std::size_t bytes) const;

  const Team& team_;
  int ranks_;
  std::vector<ncclComm_t> comms_;  // of this process's own first ranks
};

void Communicator::collective(std::size_t r, const std::string& name, std::size_t bytes) const {
  const Rank& rank = team_.own()[r];
  constexpr std::size_t aligned = 16;  // NCCL has slower ways for other addresses
  const std::size_t part =
      std::max(bytes / static_cast<std::size_t>(ranks_) / aligned, std::size_t{1}) * aligned;
  const std::size_t elements = bytes / 2, share = part / 2;
  const void* in = rank.in.get();
  void* out = rank.out.get();
  const ncclComm_t comm = comms_[r];
  if (name == "all_reduce")
    return check(ncclAllReduce(in, out, elements, ncclBfloat16, ncclSum, comm, rank.stream), "ncclAllReduce");
  if (name == "all_gather")
    return check(ncclAllGather(in, out, share, ncclBfloat16, comm, rank.stream), "ncclAllGather");
  if (name == "reduce_scatter")
    return check(ncclReduceScatter(in, out, share, ncclBfloat16, ncclSum, comm, rank.stream),
                 "ncclReduceScatter");
  for (int peer = 0; peer < ranks_; ++peer) {
    const std::size_t offset = static_cast<std::size_t>(peer) * part;
    check(ncclSend(rank.in.get<char>() + offset, part, ncclInt8, peer, comm, rank.stream), "ncclSend");
    check(ncclRecv(rank.out.get<char>() + offset, part, ncclInt8, peer, comm, rank.stream), "ncclRecv");
  }
}

void Communicator::run(const std::string& name, std::size_t bytes) const {
  if (name == "point_to_point") return exchange(0, 1, bytes, false);
  check(ncclGroupStart(), "ncclGroupStart");
  for (std::size_t r = 0; r < comms_.size(); ++r) collective(r, name, bytes);
  check(ncclGroupEnd(), "ncclGroupEnd");
}

void Communicator::exchange(int a, int b, std::size_t bytes, bool both) const {
  check(ncclGroupStart(), "ncclGroupStart");
  for (std::size_t r = 0; r < comms_.size(); ++r) {
    const Rank& rank = team_.own()[r];
    const int other = rank.number == a ? b : a;
    if (rank.number != a && rank.number != b) continue;
    if (rank.number == a || both)
      check(ncclSend(rank.in.get(), bytes, ncclInt8, other, comms_[r], rank.stream), "ncclSend");
    if (rank.number == b || both)
      check(ncclRecv(rank.out.get(), bytes, ncclInt8, other, comms_[r], rank.stream), "ncclRecv");
  }
  check(ncclGroupEnd(), "ncclGroupEnd");
}

void Communicator::reply(int a, int b) const {
  exchange(a, b, 8, false);
  exchange(b, a, 8, false);
}

void measure_messages(const Team& team, const Communicator& all, PeerTimes& times) {
  constexpr int most = 32;
  if (team.ranks() > most) times.notes.push_back("links: of more than 32 ranks, those of the first alone");
  const auto bytes = static_cast<double>(team.bytes());
  for (int a = 0; a < (team.ranks() > most ? 1 : team.ranks()); ++a) {
    for (int b = 0; b < team.ranks(); ++b) {
      if (a == b) continue;
      const double one = team.time([&] { all.exchange(a, b, team.bytes(), false); });
      const double both = team.time([&] { all.exchange(a, b, team.bytes(), true); });
      const double there_and_back = team.time([&] { all.reply(a, b); });
      times.links.push_back({.from = a,
                             .to = b,
                             .same_node = team.processes().node_of(a) == team.processes().node_of(b),
                             .way = "nccl",
                             .bytes_per_second = bytes / one,
                             .both_ways = bytes / both,
                             .latency = there_and_back / 2});
    }
  }
}

/// Sizes of a rank's whole buffer: the powers of two that the team's buffers hold, from the largest, which
/// also wakes the clocks. Odd powers judge what is made of the even ones.
std::vector<int> powers(const Team& team, bool quick) {
  constexpr int least = 10;
  std::vector<int> all;
  for (int power = 62; power >= least; --power)
    if (std::size_t{1} << power <= team.bytes() && (!quick || power % 4 == 0)) all.push_back(power);
  return all;
}

/// Whether NCCL is free to use NVLink multicast.
bool may_use_switch() {
  const char* value = std::getenv("NCCL_NVLS_ENABLE");
  return value == nullptr || value[0] != '0';
}

/// 2, 4, 8, ... ranks, and all of them.
std::vector<int> group_sizes(int ranks) {
  std::vector<int> sizes;
  for (int size = 2; size < ranks; size *= 2) sizes.push_back(size);
  sizes.push_back(ranks);
  return sizes;
}

void measure_group(const Team& team, int ranks, const std::vector<int>& sizes, PeerTimes& times) {
  const Communicator group(team, ranks);
  const auto& processes = team.processes();
  const int nodes = processes.count() > 1 ? processes.node_of(ranks - 1) + 1 : 1;
  for (const char* name : {"all_to_all", "all_reduce", "all_gather", "reduce_scatter", "point_to_point"}) {
    if (ranks > 2 && std::string(name) == "point_to_point") continue;  // the same two as in the group of two
    for (const int power : sizes) {
      const std::size_t bytes = std::size_t{1} << power;
      times.collectives.push_back({.collective = name,
                                   .library = "nccl",
                                   .ranks = ranks,
                                   .nodes = nodes,
                                   .bytes = bytes,
                                   .seconds = team.time([&] { group.run(name, bytes); }),
                                   .held_out = power % 2 != 0,
                                   .nvls = may_use_switch()});
    }
  }
}

}  // namespace

void measure_nccl(const Team& team, PeerTimes& times, bool quick) {
  if (team.processes().count() > 1) measure_messages(team, Communicator(team, team.ranks()), times);
  for (const int ranks : group_sizes(team.ranks())) measure_group(team, ranks, powers(team, quick), times);
  if (!may_use_switch())
    times.notes.push_back("NCCL over NVLink multicast: not measured, NCCL_NVLS_ENABLE is 0");
}

long nccl_version() {
  if (!why_no_nccl().empty()) return 0;
  int version = 0;
  check(ncclGetVersion(&version), "ncclGetVersion");
  return version;
}

struct Collectives::Kept : Communicator {
  using Communicator::Communicator;
};

Collectives::Collectives(const Team& team, int blocks) {
  if (const std::string why = why_no_nccl(); !why.empty()) throw NotOffered("NCCL: " + why);
  kept_ = std::make_unique<Kept>(team, team.ranks(), blocks);
}
Collectives::~Collectives() = default;
void Collectives::run(const std::string& name, std::size_t bytes) const { kept_->run(name, bytes); }

#else

std::string why_no_nccl() { return "built without it"; }
struct Collectives::Kept {};
Collectives::Collectives(const Team&, int) { throw NotOffered("built without NCCL"); }
Collectives::~Collectives() = default;
void Collectives::run(const std::string&, std::size_t) const {}
void measure_nccl(const Team&, PeerTimes&, bool) {}
long nccl_version() { return 0; }

#endif

}  // namespace measure
