// The processes that measure together: one, or under MPI one for each GPU of several nodes.
#pragma once

#include <cstddef>
#include <vector>

namespace measure {

/// Whether this program can run under MPI.
bool knows_mpi();

/// All processes; without MPI this one alone. Lives once, from the start of the program to its end.
class Processes {
 public:
  /// `mpi`: started by mpirun.
  explicit Processes(bool mpi);
  ~Processes();
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;
  int rank() const { return rank_; }
  int count() const { return count_; }
  int nodes() const { return nodes_; }
  int node() const { return node_; }           ///< of this process
  int rank_in_node() const { return local_; }  ///< among those of its node
  int node_of(int rank) const;
  void abandon(int code) const;                     ///< ends all
  void wait() const;                                ///< until all are here
  double largest(double value) const;               ///< of what all give
  void share(void* data, std::size_t bytes) const;  ///< what process 0 has, to all

 private:
  bool mpi_;
  int rank_ = 0, count_ = 1, nodes_ = 1, node_ = 0, local_ = 0;
  std::vector<int> node_of_;
};

}  // namespace measure
