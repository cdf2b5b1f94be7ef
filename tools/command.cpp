#include "tools/command.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <string_view>

#include "models/base/error.hpp"
#include "models/base/file.hpp"

namespace moesim {

void add_common_options(CLI::App& command, CommonOptions& options) {
  command.add_option("--set", options.sets, "KEY=VALUE: sets any key of the scenario, by its dotted path")
      ->allow_extra_args(false);
  add_format_option(command, options.format, {Form::text, Form::json, Form::table});
  command.add_option("--out", options.out, "file to write to (-: standard output)");
  command.add_option("--engine", options.engine, "engine to use instead of the scenario's");
  command.add_flag("--quiet", options.quiet, "nothing on standard error but errors");
}

void add_format_option(CLI::App& command, std::string& format, std::initializer_list<Form> forms,
                       const std::string& more) {
  const std::vector<std::string> names = formats(forms);
  std::string help = names.front();
  for (std::size_t i = 1; i < names.size(); ++i) help += (i + 1 < names.size() ? ", " : " or ") + names[i];
  command.add_option("--format", format, help + more)->check(CLI::IsMember(names));
}

void add_page_option(CLI::App& command, std::string& path) {
  command.add_option("--html", path, fmt::format("file for a {}", sentence_of("html")));
}

std::string command_line(int argc, const char* const* argv) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./,=:+@%";
  std::string line;
  for (int i = 0; i < argc; ++i) {
    const std::string word = argv[i];
    if (i > 0) line += ' ';
    if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char letter : word) line += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
    line += '\'';
  }
  return line;
}

std::vector<Override> overrides_of(const CommonOptions& options) {
  std::vector<Override> overrides;
  for (const std::string& set : options.sets) overrides.push_back(parse_override(set));
  if (!options.engine.empty()) overrides.push_back(parse_override("engine.kind=" + options.engine));
  return overrides;
}

namespace {

// Standard input and output may be files too.
constexpr const char* standard_input = "/dev/stdin";
constexpr const char* standard_output = "/dev/stdout";

void check_output(const NamedFile& file, const std::vector<NamedFile>& known,
                  const std::vector<std::string>& needed) {
  const bool is_standard = file.path == "-";  // which several options share, in turn
  const std::string place = is_standard ? standard_output : file.path;
  const std::string where = fmt::format("{} {}", file.option, file.path);
  for (const NamedFile& other : known) {
    if (!(is_standard && other.path == standard_output) && is_same_file(place, other.path))
      throw InputError(where, fmt::format("is the file of {} already", other.option));
  }
  for (const std::string& other : needed) {
    if (is_same_file(place, other))
      throw InputError(where, fmt::format("is read ({}), and nothing is written over what is read", other));
  }
  check_place(file.path);
}

}  // namespace

void check_outputs(const CommandFiles& files, const std::vector<std::string>& needed) {
  std::vector<NamedFile> known;
  for (const NamedFile& input : files.inputs) {
    if (!input.path.empty()) known.push_back({input.option, input.path == "-" ? standard_input : input.path});
  }
  for (const NamedFile& output : files.outputs) {
    if (output.path.empty()) continue;
    check_output(output, known, needed);
    known.push_back({output.option, output.path == "-" ? standard_output : output.path});
  }
}

SeesFiles output_check(const CommandFiles& files) {
  check_outputs(files);
  const bool writes = std::any_of(files.outputs.begin(), files.outputs.end(), [](const NamedFile& output) {
    return !output.path.empty() && output.path != "-";
  });
  if (!writes) return {};
  return [files](const std::vector<std::string>& needed) { check_outputs(files, needed); };
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
