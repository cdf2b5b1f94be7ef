#include "tools/command.hpp"

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

}  // namespace moesim
