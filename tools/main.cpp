// The program: parses the command line, runs one command, turns errors into exit codes.
#include <fmt/format.h>

#include <cstdio>
#include <new>

#include "models/base/error.hpp"
#include "models/config/reader.hpp"
#include "sim/sweep/ranks.hpp"
#include "tools/command.hpp"

namespace {

enum ExitCode { good = 0, failed_run = 1, wrong_input = 2, missing_capability = 3 };

int complain(const std::string& message, const std::string& hint, ExitCode code) {
  fmt::print(stderr, "error: {}\n", message);
  if (!hint.empty()) fmt::print(stderr, "hint: {}\n", hint);
  return code;
}

/// Only a sweep has ranks: whatever else a launcher starts several of are programs each on their own.
bool is_later_rank(const CLI::App& app) {
  if (!app.got_subcommand("sweep")) return false;
  try {
    return !moesim::launch().is_first;
  } catch (const moesim::MissingError&) {  // ranks that cannot find each other
    return false;
  }
}

/// Of the ranks of one sweep the first says what is wrong with their common input, and ends with its code: a
/// launcher would end it before it has spoken if another ended badly first.
int complain_of_input(const CLI::App& app, const std::string& message, const std::string& hint) {
  return is_later_rank(app) ? good : complain(message, hint, wrong_input);
}

int unknown_command(const std::string& word, const CLI::App& app) {
  std::vector<std::string> known;
  for (const CLI::App* command : app.get_subcommands({})) known.push_back(command->get_name());
  const std::string near = moesim::nearest_name(word, known);
  return complain(fmt::format("unknown command '{}' (known: {}{})", word, fmt::join(known, ", "),
                              near.empty() ? "" : fmt::format("; did you mean '{}'?", near)),
                  "moesim --help lists commands and options", wrong_input);
}

void add_commands(CLI::App& app, const std::string& command_line) {
  app.set_version_flag("--version", "moesim " MOESIM_VERSION);
  app.require_subcommand(1);
  moesim::add_run_command(app, command_line);
  moesim::add_schedule_command(app);
  moesim::add_compare_command(app, command_line);
  moesim::add_sweep_command(app, command_line);
  moesim::add_search_command(app, command_line);
  moesim::add_explain_command(app, command_line);
  moesim::add_topology_command(app);
  moesim::add_validate_command(app, command_line);
  moesim::add_import_command(app);
  moesim::add_list_commands(app);
  moesim::add_calibrate_command(app);
  moesim::add_cost_command(app);
}

int run(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    const bool has_command = !app.get_subcommands().empty();
    if (!has_command && argc > 1 && argv[1][0] != '-') return unknown_command(argv[1], app);
    return complain_of_input(app, error.what(), "moesim --help lists commands and options");
  }
  return good;
}

}  // namespace

// What complaining itself throws may end the program.
int main(int argc, char** argv) {  // NOLINT(bugprone-exception-escape)
  CLI::App app("moesim: where the time of a mixture-of-experts training step goes", "moesim");
  const std::string command_line = moesim::command_line(argc, argv);
  add_commands(app, command_line);
  try {
    return run(app, argc, argv);
  } catch (const moesim::InputError& error) {
    return complain_of_input(app, error.what(), error.hint());
  } catch (const moesim::MissingError& error) {
    return complain(error.what(), {}, missing_capability);
  } catch (const moesim::RunError& error) {
    return complain(error.what(), {}, failed_run);
  } catch (const std::bad_alloc&) {
    return complain("out of memory: the scenario has too many tasks for this machine",
                    "\"resolution\": \"folded\" simulates one rank for its symmetric peers", failed_run);
  } catch (const std::exception& error) {
    return complain(error.what(), "this is a mistake of moesim, not of your input: please report it",
                    failed_run);
  }
}
