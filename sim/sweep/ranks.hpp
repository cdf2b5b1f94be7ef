// Ranks of one program, as mpirun or srun starts them. The only way in to MPI, which is a module: it takes
// longer to load than most steps take to simulate, so only who was launched as one of several loads it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace moesim {

/// What a rank hears.
struct Letter {
  int from = 0;
  std::string text;
};

/// Ranks that write letters to each other. Of two letters between the same ranks the first sent is the first
/// received.
class Ranks {
 public:
  virtual ~Ranks() = default;  ///< waits for the others to end as well
  virtual int rank() const = 0;
  virtual int count() const = 0;
  virtual void send(int to, const std::string& text) const = 0;
  /// A letter that has come; does not wait.
  virtual std::optional<Letter> receive() const = 0;
};

/// Whether a launcher started this process as one of several, and which it is.
struct Launch {
  bool is_one_of_several = false;
  bool is_first = true;
};

/// Read from the environment. Throws MissingError where Slurm started several processes without a way to find
/// each other.
Launch launch();

/// Meets the other ranks. Throws MissingError in a build without MPI.
std::unique_ptr<Ranks> join_ranks();

}  // namespace moesim

extern "C" {
/// What the module returns; once in the life of a process.
moesim::Ranks* moesim_join_mpi();
}
