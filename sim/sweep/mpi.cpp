// Ranks over MPI (MPI: A Message-Passing Interface Standard, version 3.1). A module of its own.
#include <mpi.h>

#include "sim/sweep/ranks.hpp"

namespace moesim {
namespace {

class MpiRanks final : public Ranks {
 public:
  MpiRanks() {
    MPI_Init(nullptr, nullptr);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &count_);
  }
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;
  ~MpiRanks() override { MPI_Finalize(); }

  int rank() const override { return rank_; }
  int count() const override { return count_; }

  void send(int to, const std::string& text) const override {
    MPI_Send(text.data(), static_cast<int>(text.size()), MPI_CHAR, to, 0, MPI_COMM_WORLD);
  }

  std::optional<Letter> receive() const override {
    int has_come = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, &has_come, &status);
    if (has_come == 0) return std::nullopt;
    int length = 0;
    MPI_Get_count(&status, MPI_CHAR, &length);
    Letter letter{.from = status.MPI_SOURCE, .text = std::string(static_cast<std::size_t>(length), ' ')};
    MPI_Recv(letter.text.data(), length, MPI_CHAR, letter.from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return letter;
  }

 private:
  int rank_ = 0, count_ = 1;
};

}  // namespace
}  // namespace moesim

moesim::Ranks* moesim_join_mpi() { return std::make_unique<moesim::MpiRanks>().release(); }
