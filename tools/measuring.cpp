#include "tools/measuring.hpp"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>

#include "models/base/error.hpp"

extern char** environ;  // NOLINT(readability-redundant-declaration): no header of POSIX has it

namespace moesim {
namespace {

namespace files = std::filesystem;

/// Beside this program, or in the kernels' folder of its build, or on the PATH.
std::string program_beside() {
  std::error_code none;
  const files::path here = files::read_symlink("/proc/self/exe", none).parent_path();
  for (const files::path& place : {here / "moesim-measure", here / "kernels" / "moesim-measure"})
    if (!none && files::exists(place)) return place.string();
  return "moesim-measure";
}

/// Ctrl-C goes to this process and its child alike: the child ends by it, this one afterwards in good order.
class Patience {
 public:
  Patience() : on_interrupt_(std::signal(SIGINT, SIG_IGN)), on_end_(std::signal(SIGTERM, SIG_IGN)) {}
  ~Patience() {
    static_cast<void>(std::signal(SIGINT, on_interrupt_));
    static_cast<void>(std::signal(SIGTERM, on_end_));
  }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;

 private:
  void (*on_interrupt_)(int);
  void (*on_end_)(int);
};

/// Exit code of a child that hears the signals which this process ignores.
int spawned(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const Patience patience;
  posix_spawnattr_t attributes{};
  sigset_t heard{};
  sigemptyset(&heard);
  sigaddset(&heard, SIGINT);
  sigaddset(&heard, SIGTERM);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigdefault(&attributes, &heard);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, arguments.front(), nullptr, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) return 127;
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

void run_measuring_program(const std::string& program, const std::vector<std::string>& arguments) {
  std::vector<std::string> words{program.empty() ? program_beside() : program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  switch (const int code = spawned(words); code) {
    case 0:
      return;
    case 2:
      throw InputError("moesim-measure", "refused these options, as it says above");
    case 3:
      throw MissingError(
          "this machine has no GPU that moesim-measure can use; --measurements FILE fits what was measured "
          "elsewhere");
    case 127:
      throw MissingError(
          "moesim-measure is not built here, which needs nvcc (cmake --preset gpu), or lacks a CUDA library, "
          "as "
          "it says above; --measurements FILE fits what was measured elsewhere");
    case 128 + SIGINT:
    case 128 + SIGTERM:
      throw RunError("interrupted: nothing was written");
    default:
      throw RunError(fmt::format("moesim-measure ended with {}", code));
  }
}

}  // namespace moesim
