// moesim calibrate: measures the GPUs of this machine, or takes measurements made elsewhere, and writes a
// calibration.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "models/config/document.hpp"
#include "models/cost/blocks.hpp"
#include "models/cost/calibrated.hpp"
#include "models/cost/fit.hpp"
#include "models/cost/relative_times.hpp"
#include "tools/calibrate_accesses.hpp"
#include "tools/calibrate_collectives.hpp"
#include "tools/command.hpp"
#include "tools/measuring.hpp"

namespace moesim {
namespace {

namespace files = std::filesystem;

struct CalibrateOptions {
  std::string out = "-", device = "0", measurements, base, calibration, keep, program, collectives, cluster;
  bool quick = false, check = false, quiet = false;
};

/// A file that goes with the object.
class Temporary {
 public:
  Temporary()
      : path_(
            (files::temp_directory_path() / fmt::format("moesim-measurements-{}.json", getpid())).string()) {}
  ~Temporary() {
    std::error_code none;
    files::remove(path_, none);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void measure(const CalibrateOptions& options, const std::string& out) {
  std::vector<std::string> words{"--child", "--out", out, "--device", options.device};
  if (options.quick) words.push_back("--quick");
  if (options.check) words.push_back("--check");
  run_measuring_program(options.program, words);
}

CommandFiles files_of(const CalibrateOptions& options) {
  return {
      .inputs = {{"--measurements", options.measurements},
                 {"--base", options.base},
                 {"--calibration", options.calibration},
                 {"--cluster", options.cluster},
                 {"--program", options.program}},
      .outputs = {{"--keep", options.keep}, {"--collectives", options.collectives}, {"--out", options.out}}};
}

/// The device file whose name is the longest part of what the driver calls the device.
std::string base_for(const std::string& name, const std::string& given, const std::string& origin) {
  if (!given.empty()) return given;
  std::string best, best_name;
  const std::string folder =
      files::path(find_beside("configs/devices/h200.json", origin)).parent_path().string();
  for (const files::directory_entry& entry : files::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    const Value file = load_document(entry.path().string());
    const Value* own = file.find("name");
    if (own == nullptr || name.find(own->text) == std::string::npos || own->text.size() <= best_name.size())
      continue;
    best = entry.path().string();
    best_name = own->text;
  }
  if (best.empty())
    throw InputError(origin,
                     fmt::format("holds measurements of '{}', of which configs/devices has no file", name),
                     "--base FILE names a device file with its data-sheet numbers");
  return best;
}

std::string percent(double ratio) { return fmt::format("{:.1f} %", 100 * ratio); }

std::string table(const Calibration& calibration) {
  if (calibration.families.empty()) return "";
  std::string text =
      fmt::format("{:<36}{:>8}{:>10}{:>10}{:>10}{:>10}{:>10}{:>8}{:>10}{:>10}\n", "errors", "shapes",
                  "physical", "p90", "left out", "p90", "worst", "others", "median", "p90");
  for (const FamilyFit& f : calibration.families) {
    text +=
        fmt::format("{:<36}{:>8}{:>10}{:>10}{:>10}{:>10}{:>10}{:>8}", name_of(f.family), f.left_out.shapes,
                    percent(f.physical.median), percent(f.physical.p90), percent(f.left_out.median),
                    percent(f.left_out.p90), percent(f.left_out.worst), f.held_out.shapes);
    if (f.held_out.shapes > 0)
      text += fmt::format("{:>10}{:>10}", percent(f.held_out.median), percent(f.held_out.p90));
    text += "\n";
  }
  if (calibration.power) {
    for (const auto& [what, errors] : {std::pair("times in mixes of ops", calibration.power->times),
                                       std::pair("power of mixes of ops", calibration.power->powers)})
      text += fmt::format("{:<36}{:>8}{:>10}{:>10}{:>40}\n", what, errors.shapes, percent(errors.median),
                          percent(errors.p90), percent(errors.worst));
  }
  const Errors& all = calibration.held_out;
  if (all.shapes == 0) return text;
  return text + fmt::format("{} shapes off the grid: median {}, p90 {}, worst {}\n", all.shapes,
                            percent(all.median), percent(all.p90), percent(all.worst));
}

/// Names the device that is slower or faster than its neighbours by more than their noise.
std::string compare_devices(const std::vector<Calibration>& calibrations) {
  std::string text;
  std::size_t number = 0;
  for (const double off : relative_times(calibrations))
    text += fmt::format("device {}: {:+.1f} % of the median time{}\n", number++, 100 * off,
                        std::abs(off) > odd_device ? "  <- the odd one" : "");
  return text;
}

/// What two or more GPUs say of the way between them.
std::string links_table(const Calibration& calibration) {
  const Value* links = calibration.rest.find("links");
  std::string text;
  const auto number = [](const Value& line, const char* key) {
    const Value* value = line.find(key);
    return value == nullptr ? 0.0 : value->number;
  };
  for (const Value& link : links == nullptr ? std::vector<Value>{} : links->items) {
    const Value* way = link.find("way");
    text += fmt::format("{:>4} to {:<4}{:<8}{:>8.1f} GB/s{:>10.1f} GB/s both ways{:>10.2f} us\n",
                        number(link, "from"), number(link, "to"), way == nullptr ? "" : way->text,
                        number(link, "bytes_per_second") / 1e9,
                        number(link, "both_ways_bytes_per_second") / 1e9, number(link, "latency_s") * 1e6);
  }
  return text.empty() ? text : "links\n" + text;
}

/// Whether ops were measured: `--only links` of moesim-measure leaves them out.
bool has_ops(const Value& measured) {
  const Value* devices = measured.find("devices");
  const Value* ops =
      devices == nullptr || devices->items.empty() ? nullptr : devices->items.front().find("measurements");
  return ops != nullptr && !ops->items.empty();
}

Calibration load_calibration(const CalibrateOptions& options) {
  const Value document = load_document(options.calibration);
  check_outputs(files_of(options), document.files);
  Reader reader(document, "");
  return read_calibration(reader);
}

/// Each block's operations predicted one by one and added up, beside its measured time: at the full clock, or
/// of a loop at that to which it settles.
std::string check_blocks(const std::vector<MeasuredBlock>& blocks, const Calibration& calibration) {
  const std::unique_ptr<const Cost> cost = make_calibrated(calibration);
  std::string text = fmt::format("{:<24}{:<10}{:>8}{:>8}{:>14}{:>14}{:>9}\n", "block", "pass", "tokens",
                                 "clock", "measured", "predicted", "error");
  double worst = 0;
  for (const MeasuredBlock& block : blocks) {
    const PredictedBlock predicted = predict(block, *cost, calibration.device);
    const double off = predicted.seconds / block.seconds - 1;
    worst = std::max(worst, std::abs(off));
    text += fmt::format("{:<24}{:<10}{:>8}{:>8.2f}{:>14}{:>14}{:>+8.1f}%\n", block.block, block.pass,
                        block.tokens, predicted.clock, print(from_seconds(block.seconds)),
                        print(from_seconds(predicted.seconds)), 100 * off);
  }
  return text + fmt::format("largest error {}\n", percent(worst));
}

/// Whole blocks, or where these are no blocks kernels of common software.
void check(const CalibrateOptions& options, const Value& measured) {
  if (options.calibration.empty()) throw InputError("--check", "needs --calibration FILE to predict from");
  const Calibration calibration = load_calibration(options);
  Reader file(measured, "");
  const std::string of_kernels = has_ops(measured) ? accesses_check(calibration, measured_in(file, 0)) : "";
  Reader again(measured, "");
  write_file(options.out,
             of_kernels.empty() ? check_blocks(read_blocks(again, calibration), calibration) : of_kernels);
}

Calibration fitted(const CalibrateOptions& options, const Value& measured, std::size_t index) {
  Reader reader(measured, "");
  if (!options.calibration.empty()) return add_accesses(reader, index, load_calibration(options));
  const Value base = load_document(base_for(device_name_in(reader, index), options.base, measured.origin));
  check_outputs(files_of(options), base.files);
  return fit_calibration(reader, index, base);
}

void fit(const CalibrateOptions& options, const Value& measured) {
  Reader whole(measured, "");
  const std::size_t count = devices_in(whole);
  if (count == 0) whole.fail("devices", "is missing or empty, expected what moesim-measure writes");
  std::vector<Calibration> calibrations;
  for (std::size_t i = 0; i < count; ++i) {
    calibrations.push_back(fitted(options, measured, i));
    Reader again(measured, "");
    if (options.quiet) continue;
    const Calibration& made = calibrations.back();
    const std::string of_kernels = accesses_table(made, measured_in(again, i));
    fmt::print(stderr, "{}{}", options.calibration.empty() ? table(made) + links_table(made) : "",
               of_kernels);
  }
  if (count > 1 && !options.quiet) fmt::print(stderr, "{}", compare_devices(calibrations));
  write_file(options.out, write_calibration(calibrations.front()));
}

void calibrate(const CalibrateOptions& options) {
  check_outputs(files_of(options));
  const Temporary temporary;
  const std::string path = options.measurements.empty() ? temporary.path() : options.measurements;
  if (options.measurements.empty()) measure(options, path);
  if (!options.keep.empty()) write_file(options.keep, read_file(path));
  const Value measured = load_document(path);
  if (options.check) return check(options, measured);
  if (!options.collectives.empty()) {
    const CollectivesFile file = collectives_file(measured, options.cluster);
    if (!options.quiet) fmt::print(stderr, "{}", file.table);
    write_file(options.collectives, file.text);
  } else if (has_collectives(measured) && !options.quiet) {
    fmt::print(stderr,
               "collectives were measured: --collectives FILE writes what a scenario reads of them\n");
  }
  if (has_ops(measured) || options.collectives.empty()) fit(options, measured);
}

}  // namespace

void add_calibrate_command(CLI::App& app) {
  auto options = std::make_shared<CalibrateOptions>();
  CLI::App* command =
      app.add_subcommand("calibrate", "measure the GPUs of this machine and write a calibration");
  command->add_option("--out", options->out, "file to write to (-: standard output)");
  command->add_option("--device", options->device,
                      "which GPU, or all: they are compared, the first is written");
  command->add_flag("--quick", options->quick, "a tenth of the shapes, in less than a minute");
  command->add_option("--measurements", options->measurements,
                      "fit this file of moesim-measure or tools/measure_accesses.py instead of measuring");
  command->add_option(
      "--program", options->program,
      "moesim-measure, or what runs it, as a script with srun (default: beside this program)");
  command->add_option("--keep", options->keep, "also keep the measurements in this file");
  command->add_option("--base", options->base,
                      "device file with the data sheet's numbers (default: by name)");
  command->add_option("--collectives", options->collectives,
                      "also write times of collectives to this file, for a scenario's collectives");
  command->add_option("--cluster", options->cluster,
                      "cluster file with the links that were measured (default: by the device's name)");
  command->add_flag("--check", options->check,
                    "whole blocks, or kernels of common software: predicted against measured");
  command->add_option("--calibration", options->calibration,
                      "what --check predicts from; without it, what the laws of kernels of common software "
                      "(tools/measure_accesses.py) are added to");
  command->add_flag("--quiet", options->quiet, "nothing on standard error but errors");
  command->callback([options] { calibrate(*options); });
}

}  // namespace moesim
