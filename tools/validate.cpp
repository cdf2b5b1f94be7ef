// moesim validate: published cases, simulated beside what was measured.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "sim/run/residuals.hpp"
#include "sim/run/validate.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct ValidateOptions {
  ValidateRequest request;
  std::string format = "text", out = "-", html;
  unsigned jobs = 0;  ///< 0: one for each core
  bool residuals = false;
};

void validate(ValidateOptions options, const std::string& command_line) {
  options.request.jobs = options.jobs > 0 ? options.jobs : std::thread::hardware_concurrency();
  if (options.request.path.empty()) options.request.path = find_beside("configs/validation/all.json", "");
  options.request.sees_files = output_check({.inputs = {{"CASES", options.request.path}},
                                             .outputs = {{"--html", options.html}, {"--out", options.out}}});
  if (options.residuals) {
    write_file(options.out, write_json(document_of(residuals_of(options.request))));
    return;
  }
  const Validation validation = moesim::validate(options.request);
  Told told = tell(validation);
  told.command = command_line;
  if (!options.html.empty()) write_file(options.html, write(told, "html"));
  if (options.html != "-" || options.out != "-") write_file(options.out, write(told, options.format));
  std::vector<std::string> surprises;
  for (const JudgedCase& one : validation.cases) {
    if (one.is_surprise()) surprises.push_back(one.name);
  }
  if (surprises.empty()) return;
  throw RunError(
      fmt::format("{} of {} cases are out of their tolerance, and nothing says that this is known: {}",
                  surprises.size(), validation.cases.size(), fmt::join(surprises, ", ")));
}

}  // namespace

void add_validate_command(CLI::App& app, const std::string& command_line) {
  auto options = std::make_shared<ValidateOptions>();
  CLI::App* command = app.add_subcommand("validate", "simulate published cases, and show the error of each");
  command->add_option("CASES", options->request.path,
                      "file of cases (default: configs/validation/all.json, here or in a folder above)");
  command->add_option("--group", options->request.groups, "only this group; several may be given")
      ->allow_extra_args(false);
  add_format_option(*command, options->format, {Form::text, Form::json, Form::table});
  command->add_option("--out", options->out, "file to write to (-: standard output)");
  add_page_option(*command, options->html);
  command
      ->add_flag("--residuals", options->residuals,
                 "what the cases are off by families, which error bars are made of, as JSON "
                 "(configs/validation/residuals.json)")
      ->excludes("--html");
  command->add_option("--jobs", options->jobs, "runs at a time (default: one for each core)")
      ->check(CLI::Range(1U, 4096U));
  command->callback([options, &command_line] { validate(*options, command_line); });
}

}  // namespace moesim
