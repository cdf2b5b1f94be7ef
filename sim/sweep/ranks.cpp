#include "sim/sweep/ranks.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "models/base/error.hpp"

namespace moesim {
namespace {

std::optional<int> number_in(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == 0) return std::nullopt;
  char* end = nullptr;
  const long number = std::strtol(text, &end, 10);
  if (*end != 0 || number < 0) return std::nullopt;
  return static_cast<int>(number);
}

/// The first of the variables that is set: Open MPI's, those of PMIx and PMI, Slurm's.
std::optional<int> first_of(std::initializer_list<const char*> variables) {
  for (const char* variable : variables) {
    if (const std::optional<int> number = number_in(variable)) return number;
  }
  return std::nullopt;
}

std::optional<int> rank_of_launch() { return first_of({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}); }

/// Where the build puts the module: beside the program.
std::filesystem::path module_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libmoesim_mpi.so";
}

}  // namespace

Launch launch() {
  const int count = first_of({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"}).value_or(1);
  if (count <= 1) return {};
  const std::optional<int> rank = rank_of_launch();
  if (!rank) {
    throw MissingError(fmt::format(
        "Slurm started {} processes that cannot find each other: start them with srun --mpi=pmix", count));
  }
  return {.is_one_of_several = true, .is_first = *rank == 0};
}

std::unique_ptr<Ranks> join_ranks() {
  if (!std::filesystem::exists(module_path())) {
    throw MissingError(
        "this build has no MPI, so ranks cannot share a sweep: install libopenmpi-dev and build moesim "
        "again, or "
        "start it by itself with --jobs");
  }
  // Global: MPI loads modules of its own that look for it.
  void* const module = dlopen(module_path().c_str(), RTLD_NOW | RTLD_GLOBAL);
  void* const join = module == nullptr ? nullptr : dlsym(module, "moesim_join_mpi");
  if (join == nullptr) throw MissingError(fmt::format("MPI cannot be loaded: {}", dlerror()));
  return std::unique_ptr<Ranks>(reinterpret_cast<decltype(&moesim_join_mpi)>(join)());
}

}  // namespace moesim
