// A sweep over MPI ranks: the same as on one machine, whatever their number, and whatever happens to a point.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "sim/sweep/ranks.hpp"
#include "tests/support/folder.hpp"
#include "tests/support/program.hpp"
#include "tests/support/ranks.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

const std::string sweep = "sweep scenarios/dualpipe-8x20.json ";
const std::string over = "--over schedule.kind=dualpipe,gpipe,1f1b --over pipeline.microbatches=16..22 ";

Outcome on(int ranks, const std::string& arguments) { return run_shell(on_ranks(ranks) + " " + arguments); }

std::size_t count_of(const std::string& word, const std::string& text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("A sweep finds the same, byte for byte, with one, two and four ranks") {
  if (!has_ranks()) return;
  const Folder folder("sweep-ranks");
  const auto options = [&](const std::string& name) {
    return fmt::format("--csv - --json-lines {} --out {}", folder.at(name + ".jsonl"), folder.at(name));
  };
  const Outcome alone = run_shell("moesim " + sweep + over + options("alone"));
  REQUIRE(alone.code == 0);
  for (const int ranks : {1, 2, 4}) {
    const std::string name = fmt::format("ranks-{}", ranks);
    const Outcome outcome = on(ranks, sweep + over + options(name));
    INFO(ranks << " ranks: " << outcome.err);
    CHECK(outcome.code == 0);
    CHECK(first_difference(alone.out, outcome.out).empty());
    CHECK(run_shell(fmt::format("cmp {0}/alone.jsonl {0}/{1}.jsonl", folder.at(""), name)).code == 0);
    // What a rank found another start of any kind goes on with.
    CHECK(run_shell("moesim " + sweep + over + "--csv - --out " + folder.at(name)).out == alone.out);
  }
}

TEST_CASE("A scenario from standard input reaches all ranks, and each may run several points at a time") {
  if (!has_ranks()) return;
  const std::string from_input = "sweep - " + over + "--jobs 3";
  const Outcome outcome = run_shell(on_ranks(2) + " " + from_input + " < scenarios/dualpipe-8x20.json");
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(outcome.out == run_shell("moesim " + from_input + " < scenarios/dualpipe-8x20.json").out);
}

TEST_CASE("A point that crashes its process on a rank is a row with its error, and the ranks go on") {
  if (!has_ranks()) return;
  // The processor time of each process is limited, which only the second point needs more of.
  const Folder folder("sweep-ranks-crash");
  const std::string heavy =
      " sweep scenarios/dualpipe-8x20.json --set schedule.kind=gpipe --over "
      "pipeline.microbatches=16,1000000,18,20 --csv - --out " +
      folder.at("results");
  const Outcome outcome = run_shell(on_ranks(2, "ulimit -S -t 1;") + heavy);
  INFO(outcome.out << outcome.err);
  CHECK(outcome.code == 0);
  const std::vector<std::string> lines = lines_of(outcome.out);
  REQUIRE(lines.size() == 5);
  CHECK(lines[2] == "1000000,,,,,,,,the worker ended by signal 24,,");  // SIGXCPU
  for (const std::size_t line : {1U, 3U, 4U}) CHECK(lines[line].ends_with(" moesim 0.3\""));
  CHECK(run_shell("moesim" + heavy).out == outcome.out);  // errors are kept like results
}

TEST_CASE("A sweep over ranks that is stopped goes on where it was") {
  if (!has_ranks()) return;
  const Folder folder("sweep-ranks-stopped");
  const std::string arguments = sweep + over + "--csv - --out " + folder.at("results");
  const Outcome stopped = run_shell("timeout -s TERM 0.6 " + on_ranks(2) + " " + arguments);
  INFO(stopped.err);
  const Outcome finished = on(2, arguments);
  INFO(finished.err);
  CHECK(finished.code == 0);
  CHECK(finished.out == run_shell("moesim " + sweep + over).out);
}

TEST_CASE("What is wrong is said once, however many ranks there are") {
  if (!has_ranks()) return;
  for (const std::string wrong : {"--over schedule.kind=", "--over pipeline.microbatches=4..1",
                                  "--over schedule.kind=gpipe,1f1b --plot mfo", "--set schedul.kind=gpipe"}) {
    const Outcome outcome = on(4, sweep + wrong);
    INFO(wrong << ": " << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(outcome.out.empty());
    CHECK(count_of("error: ", outcome.err) == 1);
  }
}

TEST_CASE("A program of a task farm is on its own, whatever its rank: it says what is wrong") {
  for (const std::string launched :
       {"SLURM_PROCID=1", "SLURM_PROCID=3 SLURM_STEP_NUM_TASKS=4",
        "OMPI_COMM_WORLD_RANK=2 OMPI_COMM_WORLD_SIZE=3", "PMI_RANK=1 PMI_SIZE=2", "PMIX_RANK=5"}) {
    for (const std::string command :
         {"run", "compare --over a=1", "schedule", "topology", "import", "cost"}) {
      const Outcome outcome = run_shell(fmt::format("{} moesim {} nofile.json", launched, command));
      INFO(launched << " " << command);
      CHECK(outcome.code == 2);
      CHECK(count_of("error: ", outcome.err) == 1);
    }
  }
  // Nor is a sweep that was not started as one of several.
  CHECK(run_shell("SLURM_PROCID=1 moesim sweep nofile.json --over a=1").err ==
        "error: nofile.json: no such file\n");
  CHECK(run_shell("SLURM_PROCID=1 moesim sweep --bogus").code == 2);
}

TEST_CASE("Ranks of a sweep that is wrong say so once, also where its options are") {
  if (!has_ranks()) return;
  for (const std::string wrong : {"sweep --bogus", "sweep nofile.json --over a=1"}) {
    const Outcome outcome = on(3, wrong);
    INFO(wrong << ": " << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(count_of("error: ", outcome.err) == 1);
  }
  CHECK(count_of("error: ", on(3, "run nofile.json").err) >= 1);  // three programs, of which mpirun ends some
}

TEST_CASE("Who is started alone needs no MPI, and tasks of Slurm that cannot meet are told so") {
  CHECK(run_shell("LD_DEBUG=files moesim --version 2>&1 | grep -c libmpi").out == "0\n");
  CHECK(
      run_shell("OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0 moesim " + sweep + over + "--dry-run").code ==
      0);
  const Outcome apart = run_shell("SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=0 moesim " + sweep + over);
  CHECK(apart.code == 3);
  CHECK(apart.err ==
        "error: Slurm started 4 processes that cannot find each other: start them with srun --mpi=pmix\n");
}
