// NCCL's collectives by size, and under MPI messages between each pair of processes.
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

/// A communicator of all ranks of a team.
class Communicator {
 public:
  explicit Communicator(const Team& team) : team_(team), comms_(team.own().size()) {
    ncclUniqueId id{};
    if (team.processes().rank() == 0) check(ncclGetUniqueId(&id), "ncclGetUniqueId");
    team.processes().share(&id, sizeof id);
    check(ncclGroupStart(), "ncclGroupStart");
    for (std::size_t r = 0; r < comms_.size(); ++r) {
      measure::check(cudaSetDevice(team.own()[r].device), "cudaSetDevice");
      check(ncclCommInitRank(&comms_[r], team.ranks(), id, team.own()[r].number), "ncclCommInitRank");
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
  std::vector<ncclComm_t> comms_;
};

void Communicator::collective(std::size_t r, const std::string& name, std::size_t bytes) const {
  const Rank& rank = team_.own()[r];
  const int ranks = team_.ranks();
  const std::size_t part = bytes / static_cast<std::size_t>(ranks), elements = bytes / 2, share = part / 2;
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
  for (int peer = 0; peer < ranks; ++peer) {
    const std::size_t offset = static_cast<std::size_t>(peer) * part;
    check(ncclSend(rank.in.get<char>() + offset, part, ncclInt8, peer, comm, rank.stream), "ncclSend");
    check(ncclRecv(rank.out.get<char>() + offset, part, ncclInt8, peer, comm, rank.stream), "ncclRecv");
  }
}

void Communicator::run(const std::string& name, std::size_t bytes) const {
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

}  // namespace

void measure_nccl(const Team& team, PeerTimes& times, bool quick) {
  const Communicator all(team);
  if (team.processes().count() > 1) measure_messages(team, all, times);
  for (const char* name : {"all_to_all", "all_reduce", "all_gather", "reduce_scatter"})
    for (std::size_t bytes = std::size_t{1} << (quick ? 16 : 14); bytes <= team.bytes();
         bytes *= quick ? 16 : 4)
      times.collectives.push_back({.collective = name,
                                   .library = "nccl",
                                   .ranks = team.ranks(),
                                   .nodes = team.processes().nodes(),
                                   .bytes = bytes,
                                   .seconds = team.time([&] { all.run(name, bytes); })});
}

long nccl_version() {
  if (!why_no_nccl().empty()) return 0;
  int version = 0;
  check(ncclGetVersion(&version), "ncclGetVersion");
  return version;
}

#else

std::string why_no_nccl() { return "built without it"; }
void measure_nccl(const Team&, PeerTimes&, bool) {}
long nccl_version() { return 0; }

#endif

}  // namespace measure
