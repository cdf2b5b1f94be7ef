#include "processes.hpp"

#ifdef MEASURE_MPI
#define OMPI_SKIP_MPICXX
#define MPICH_SKIP_MPICXX
#include <mpi.h>
#endif

namespace measure {

#ifdef MEASURE_MPI

bool knows_mpi() { return true; }

Processes::Processes(bool mpi) : mpi_(mpi) {
  if (!mpi_) return;
  MPI_Init(nullptr, nullptr);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &count_);
  MPI_Comm of_node{};
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &of_node);
  MPI_Comm_rank(of_node, &local_);
  // A node's number is how many nodes have a lower first rank.
  int first = rank_;
  MPI_Bcast(&first, 1, MPI_INT, 0, of_node);
  MPI_Comm_free(&of_node);
  std::vector<int> firsts(static_cast<std::size_t>(count_));
  MPI_Allgather(&first, 1, MPI_INT, firsts.data(), 1, MPI_INT, MPI_COMM_WORLD);
  nodes_ = 0;
  for (int i = 0; i < count_; ++i) {
    const int of_first = firsts[static_cast<std::size_t>(i)];
    node_of_.push_back(of_first == i ? nodes_++ : node_of_[static_cast<std::size_t>(of_first)]);
  }
  node_ = node_of(rank_);
}

Processes::~Processes() {
  if (mpi_) MPI_Finalize();
}

int Processes::node_of(int rank) const {
  return node_of_.empty() ? 0 : node_of_[static_cast<std::size_t>(rank)];
}

void Processes::abandon(int code) const {
  if (mpi_) MPI_Abort(MPI_COMM_WORLD, code);
}

void Processes::wait() const {
  if (mpi_) MPI_Barrier(MPI_COMM_WORLD);
}

double Processes::largest(double value) const {
  double most = value;
  if (mpi_) MPI_Allreduce(&value, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return most;
}

void Processes::share(void* data, std::size_t bytes) const {
  if (mpi_) MPI_Bcast(data, static_cast<int>(bytes), MPI_BYTE, 0, MPI_COMM_WORLD);
}

#else

bool knows_mpi() { return false; }
Processes::Processes(bool mpi) : mpi_(mpi) {}
Processes::~Processes() = default;
int Processes::node_of(int) const { return 0; }
void Processes::abandon(int) const {}
void Processes::wait() const {}
double Processes::largest(double value) const { return value; }
void Processes::share(void*, std::size_t) const {}

#endif

}  // namespace measure
