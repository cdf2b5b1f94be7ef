#include "tests/support/ranks.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <filesystem>

namespace moesim::testing {

bool has_ranks() {
  const std::filesystem::path module =
      std::filesystem::path(MOESIM_PROGRAM).parent_path() / "libmoesim_mpi.so";
  static const bool is_there = std::filesystem::exists(module) && run_shell("command -v mpirun").code == 0;
  if (!is_there) WARN("skipped: this build has no MPI, or this machine no mpirun");
  return is_there;
}

std::string on_ranks(int count, const std::string& before) {
  // As root, more ranks than cores, none bound to a core; what Open MPI itself leaks is not
  // ours.
  return fmt::format(
      "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 "
      "OMPI_MCA_hwloc_base_binding_policy=none "
      "ASAN_OPTIONS=detect_leaks=0 "
      "mpirun -n {} bash -c '{} exec \"$0\" \"$@\"' '{}'",
      count, before, MOESIM_PROGRAM);
}

}  // namespace moesim::testing
