// moesim-measure-mpi.so: the processes of an mpirun.
#define OMPI_SKIP_MPICXX
#define MPICH_SKIP_MPICXX
#include <mpi.h>

#include "processes.hpp"

namespace measure {
namespace {

class ByMpi final : public Companions {
 public:
  ByMpi() {
    MPI_Init(nullptr, nullptr);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    int count = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    MPI_Comm of_node{};
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &of_node);
    int first = rank_;
    MPI_Bcast(&first, 1, MPI_INT, 0, of_node);
    MPI_Comm_free(&of_node);
    first_on_node_.resize(static_cast<std::size_t>(count));
    MPI_Allgather(&first, 1, MPI_INT, first_on_node_.data(), 1, MPI_INT, MPI_COMM_WORLD);
  }
  ~ByMpi() override { MPI_Finalize(); }
  ByMpi(const ByMpi&) = delete;
  ByMpi& operator=(const ByMpi&) = delete;

  int rank() const override { return rank_; }
  const std::vector<int>& first_on_node() const override { return first_on_node_; }
  void abandon(int code) const override { MPI_Abort(MPI_COMM_WORLD, code); }
  void wait() const override { MPI_Barrier(MPI_COMM_WORLD); }
  double largest(double value) const override {
    double most = value;
    MPI_Allreduce(&value, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return most;
  }
  void share(void* data, std::size_t bytes) const override {
    MPI_Bcast(data, static_cast<int>(bytes), MPI_BYTE, 0, MPI_COMM_WORLD);
  }

 private:
  int rank_ = 0;
  std::vector<int> first_on_node_;
};

}  // namespace
}  // namespace measure

extern "C" measure::Companions* moesim_measure_join() { return new measure::ByMpi; }
