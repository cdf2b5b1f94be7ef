// The processes that measure together: one, or under MPI one for each GPU of several nodes.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace measure {

/// What processes that were started together do together, as a message-passing library does it. The one of
/// MPI is in a library of its own, so that the program starts where no MPI is installed.
class Companions {
 public:
  virtual ~Companions() = default;
  virtual int rank() const = 0;
  /// Of each process the lowest rank on its node.
  virtual const std::vector<int>& first_on_node() const = 0;
  virtual void abandon(int code) const = 0;                     ///< ends all
  virtual void wait() const = 0;                                ///< until all are here
  virtual double largest(double value) const = 0;               ///< of what all give
  virtual void share(void* data, std::size_t bytes) const = 0;  ///< what process 0 has, to all
};

/// All processes; without MPI this one alone. Lives once, from the start of the program to its end.
class Processes {
 public:
  /// `mpi`: started by mpirun. Throws Missing where MPI, or what this program needs of it, is not there.
  explicit Processes(bool mpi);
  int rank() const { return rank_; }
  int count() const { return static_cast<int>(node_of_.size()); }
  int nodes() const { return nodes_; }
  int rank_in_node() const { return local_; }  ///< among those of its node
  int node_of(int rank) const { return node_of_[static_cast<std::size_t>(rank)]; }
  void abandon(int code) const;                     ///< ends all
  void wait() const;                                ///< until all are here
  double largest(double value) const;               ///< of what all give
  void share(void* data, std::size_t bytes) const;  ///< what process 0 has, to all

 private:
  std::unique_ptr<const Companions> companions_;  ///< none where this process is alone
  int rank_ = 0, nodes_ = 1, local_ = 0;
  std::vector<int> node_of_{0};
};

}  // namespace measure
