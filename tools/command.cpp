#include "tools/command.hpp"

#include <fmt/format.h>

#include <exception>

#include "models/base/error.hpp"
#include "models/base/file.hpp"

namespace moesim {

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--set", options.sets, "KEY=VALUE: sets any key of the scenario, by its dotted path")
      ->allow_extra_args(false);
  command.add_option("--format", options.format, "text, json or csv")
      ->check(CLI::IsMember({"text", "json", "csv"}));
  command.add_option("--out", options.out, "file to write to (-: standard output)");
  command.add_option("--engine", options.engine, "engine to use instead of the scenario's");
  command.add_flag("--quiet", options.quiet, "nothing on standard error but errors");
}

std::vector<Override> overrides_of(const CommonOptions& options) {
  std::vector<Override> overrides;
  for (const std::string& set : options.sets) overrides.push_back(parse_override(set));
  if (!options.engine.empty()) overrides.push_back(parse_override("engine.kind=" + options.engine));
  return overrides;
}

void check_outputs(const std::string& scenario, const std::vector<OutputFile>& files) {
  std::vector<OutputFile> known{{.option = "SCENARIO", .path = scenario}};
  for (const OutputFile& file : files) {
    if (file.path.empty()) continue;
    for (const OutputFile& other : known) {
      if (is_same_file(file.path, other.path))
        throw InputError(fmt::format("{} {}", file.option, file.path),
                         fmt::format("is the file of {} already", other.option));
    }
    check_place(file.path);
    known.push_back(file);
  }
}

void do_each(const std::vector<std::function<void()>>& actions) {
  std::exception_ptr first;
  for (const std::function<void()>& action : actions) {
    try {
      action();
    } catch (const std::exception&) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace moesim
