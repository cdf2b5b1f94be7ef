// moesim import FILE: a Hugging Face config.json to a model file; what it leaves open is said on stderr.
#include "models/transformer/import.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "models/base/file.hpp"
#include "models/base/grouped.hpp"
#include "models/config/values.hpp"
#include "models/transformer/model.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct ImportOptions {
  std::string file, name, out = "-";
  bool quiet = false;
};

/// Reads the model file back as `run` would, so that nothing is written that it refuses. Returns its size.
std::string check_model(const Value& model) {
  Reader reader(model, "");
  const Model read = read_model(reader);
  const auto count = [](std::int64_t parameters) {
    const auto number = static_cast<double>(parameters);
    return fmt::format("{} ({:.4g} billion)", grouped(number), number / 1e9);
  };
  return fmt::format("{}: {} parameters, {} of them active per token, {} without the input embedding",
                     read.name, count(model_parameters(read).total()), count(active_parameters(read)),
                     count(active_parameters_without_embedding(read)));
}

void import(const ImportOptions& options) {
  check_outputs({.inputs = {{"FILE", options.file}}, .outputs = {{"--out", options.out}}});
  Value config = parse_json(read_file(options.file), options.file == "-" ? "standard input" : options.file);
  if (!options.name.empty()) {
    const Value name = value_of(options.name);
    config.set("_name_or_path", name);
    if (Value* nested = config.find("text_config")) nested->set("_name_or_path", name);
  }
  const Imported imported = import_hugging_face(config);
  const std::string size = check_model(imported.model);
  if (!options.quiet) {
    for (const std::string& guess : imported.guessed) fmt::print(stderr, "guessed: {}\n", guess);
    fmt::print(stderr, "{}\n", size);
  }
  write_file(options.out, write_json(imported.model));
}

}  // namespace

void add_import_command(CLI::App& app) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* command = app.add_subcommand("import", "turn a Hugging Face config.json into a model file");
  command->add_option("FILE", options->file, "config.json (-: standard input)")->required();
  command->add_option("--name", options->name, "name of the model (default: the file's, else its type)");
  command->add_option("--out", options->out, "file to write to (-: standard output)");
  command->add_flag("--quiet", options->quiet, "nothing on standard error but errors");
  command->callback([options] { import(*options); });
}

}  // namespace moesim
