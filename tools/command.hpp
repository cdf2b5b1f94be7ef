// What the subcommands have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "models/config/document.hpp"
#include "sim/write/writer.hpp"

namespace moesim {

/// Options that mean the same in every command.
struct CommonOptions {
  std::vector<std::string> sets;  ///< --set KEY=VALUE
  std::string format = "text";    ///< of a writer
  std::string out = "-";
  std::string engine;  ///< --engine KIND
  bool quiet = false;
};

/// Adds --set, --format, --out, --engine and --quiet.
void add_common_options(CLI::App& command, CommonOptions& options);
/// Adds --format, one of the formats of these forms; `more` is what its help says after their names.
void add_format_option(CLI::App& command, std::string& format, std::initializer_list<Form> forms,
                       const std::string& more = {});
/// Adds --html, the file of a page; empty: none.
void add_page_option(CLI::App& command, std::string& path);
/// What a page says that it is of: the words of the command line, as a shell takes them.
std::string command_line(int argc, const char* const* argv);
/// The overrides that the options stand for, --engine included.
std::vector<Override> overrides_of(const CommonOptions& options);

// One function a subcommand: adds it to the program. Those that write pages get the command line, which
// outlives it.
void add_run_command(CLI::App& app, const std::string& command_line);
void add_schedule_command(CLI::App& app);
void add_compare_command(CLI::App& app, const std::string& command_line);
void add_sweep_command(CLI::App& app, const std::string& command_line);
void add_search_command(CLI::App& app, const std::string& command_line);
void add_explain_command(CLI::App& app, const std::string& command_line);
void add_topology_command(CLI::App& app);
void add_import_command(CLI::App& app);
void add_validate_command(CLI::App& app, const std::string& command_line);
void add_list_commands(CLI::App& app);
void add_calibrate_command(CLI::App& app);
void add_cost_command(CLI::App& app);

/// A file by the option that names it; an empty path: it is not given; "-": standard input or output.
struct NamedFile {
  std::string option, path;
};
/// What a command reads and writes.
struct CommandFiles {
  std::vector<NamedFile> inputs, outputs;
};
/// Before anything runs: throws InputError where an output cannot be written, or is another one, an input, or
/// one of the files that the inputs need in turn.
void check_outputs(const CommandFiles& files, const std::vector<std::string>& needed = {});
/// The same as something that sees what is needed; nothing where no output is a file.
SeesFiles output_check(const CommandFiles& files);

/// Does each, also after one that failed; throws the first failure at the end.
void do_each(const std::vector<std::function<void()>>& actions);

}  // namespace moesim
