#include "sim/engine/apart.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <new>
#include <stdexcept>

#include "models/base/error.hpp"

namespace moesim {
namespace {

enum class Ending : std::uint8_t { early, good, run_error, no_memory, mistake };

/// What the other process leaves behind, besides the times.
struct Outcome {
  Ending ending = Ending::early;
  std::uint64_t events = 0;
  char message[4096] = {};
};

/// Memory that both processes see.
class Shared {
 public:
  explicit Shared(std::size_t tasks)
      : tasks_(tasks),
        bytes_(sizeof(Outcome) + 2 * tasks * sizeof(Time)),
        memory_(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    new (memory_) Outcome;
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { munmap(memory_, bytes_); }

  Outcome& outcome() const { return *static_cast<Outcome*>(memory_); }
  Spans spans() const {
    Time* const times = reinterpret_cast<Time*>(static_cast<char*>(memory_) + sizeof(Outcome));
    return {{times, tasks_}, {times + tasks_, tasks_}};
  }

 private:
  std::size_t tasks_;
  std::size_t bytes_;
  void* memory_;
};

void end_badly(Outcome& outcome, Ending ending, const char* message) {
  outcome.ending = ending;
  *fmt::format_to_n(outcome.message, sizeof(outcome.message) - 1, "{}", message).out = 0;
}

/// The life of the other process.
[[noreturn]] void live(const Shared& shared, const std::function<std::uint64_t(const Spans&)>& run) {
  Outcome& outcome = shared.outcome();
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody is left to hear the outcome
  try {
    outcome.events = run(shared.spans());
    outcome.ending = Ending::good;
  } catch (const RunError& error) {
    end_badly(outcome, Ending::run_error, error.what());
  } catch (const std::bad_alloc& error) {
    end_badly(outcome, Ending::no_memory, error.what());
  } catch (const std::exception& error) {
    end_badly(outcome, Ending::mistake, error.what());
  }
  _exit(0);  // nothing that this process had to say before is said twice
}

/// Waits for the other process; its status as waitpid() has it.
int wait_for(pid_t process) {
  int status = 0;
  while (waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) throw RunError("the process of the run was lost");
  }
  return status;
}

void throw_if_bad(const Outcome& outcome, int status) {
  if (WIFSIGNALED(status)) {
    throw RunError(fmt::format("the process of the run was ended by signal {}", WTERMSIG(status)));
  }
  switch (outcome.ending) {
    case Ending::good:
      return;
    case Ending::early:
      throw RunError(fmt::format("the process of the run ended with status {}", WEXITSTATUS(status)));
    case Ending::run_error:
      throw RunError(outcome.message);
    case Ending::no_memory:
      throw std::bad_alloc();
    case Ending::mistake:
      throw std::logic_error(outcome.message);
  }
}

}  // namespace

Timeline run_apart(std::size_t tasks, const std::function<std::uint64_t(const Spans&)>& run) {
  const Shared shared(tasks);
  std::fflush(nullptr);  // or the copy might print what waits to be printed once more
  const pid_t process = fork();
  if (process < 0) throw RunError("no process for the run: the system has too many, or too little memory");
  if (process == 0) live(shared, run);
  throw_if_bad(shared.outcome(), wait_for(process));
  const Spans spans = shared.spans();
  return {{spans.starts.begin(), spans.starts.end()},
          {spans.ends.begin(), spans.ends.end()},
          shared.outcome().events};
}

}  // namespace moesim
