#include "sim/run/residuals.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "models/config/document.hpp"
#include "models/config/values.hpp"
#include "models/cost/blocks.hpp"
#include "models/cost/calibrated.hpp"
#include "models/cost/fit_family.hpp"
#include "models/cost/roofline.hpp"
#include "sim/report/error_model.hpp"

namespace moesim {
namespace {

Calibration load_calibration(const std::string& path) {
  const Value document = load_document(path);
  Reader reader(document, "");
  return read_calibration(reader);
}

std::vector<MeasuredBlock> load_blocks(const std::string& path, const Calibration& calibration) {
  const Value document = load_document(path);
  Reader reader(document, "");
  return read_blocks(reader, calibration);
}

/// Sizes of an op, by which shapes are told apart.
using Sizes = std::tuple<OpKind, OpPass, Precision, std::int64_t, std::int64_t, double>;

/// Of the sum of a block's ops, where each shape errs by itself.
double deviation_of_shapes(const MeasuredBlock& block, const PredictedBlock& predicted, const Cost& cost,
                           const Device& device) {
  std::map<Sizes, double> weighted;  // seconds x deviation
  for (const Op& op : block.ops) {
    const double seconds = to_seconds(cost.time(op, device, {0, predicted.clock}).time);
    weighted[{op.kind, op.pass, op.precision, op.m, op.bytes.count, op.flops.count}] +=
        seconds * cost.deviation(op, device).value_or(0);
  }
  double variance = 0;
  for (const auto& [shape, deviation] : weighted) variance += deviation * deviation;
  return std::sqrt(variance) / predicted.seconds;
}

std::vector<Residual> residuals_of_blocks(const std::vector<MeasuredBlock>& blocks, const Cost& cost,
                                          const Device& device) {
  std::vector<Residual> residuals;
  for (const MeasuredBlock& block : blocks) {
    const PredictedBlock predicted = predict(block, cost, device);
    residuals.push_back({.name = fmt::format("{} {} {}", block.block, block.pass, block.tokens),
                         .off = std::log(block.seconds / predicted.seconds),
                         .explained = deviation_of_shapes(block, predicted, cost, device)});
  }
  return residuals;
}

/// The first communication of a run.
const Pattern* first_pattern(const TaskGraph& graph, Activity activity) {
  for (TaskId task = 0; task < graph.size(); ++task) {
    const bool is_asked = activity == Activity::none || graph.tags[task].activity == activity;
    if (graph.kinds[task] == TaskKind::coflow && is_asked) return &graph.pattern_table[graph.patterns[task]];
  }
  return nullptr;
}

std::optional<FamilyName> messages_of(const Simulation& run, bool is_exchange, Activity activity) {
  const Pattern* const pattern = first_pattern(run.graph, activity);
  if (pattern == nullptr) return std::nullopt;
  std::string of = messages_name(is_exchange, run.graph, *pattern, run.work.scenario.fabric());
  if (of.empty()) return std::nullopt;
  return FamilyName{std::move(of), std::string(as_measured)};
}

std::string name_of_kernels(KernelClass kernels, const Scenario& scenario) {
  Op kernel;
  kernel.kernel_class = kernels;
  kernel.precision = scenario.precision.gemm;
  return kernels_name(kernel);
}

}  // namespace

std::optional<FamilyName> family_of(const Figure& figure, const Simulation& run) {
  const Scenario& scenario = run.work.scenario;
  if (!scenario.cluster) return std::nullopt;
  switch (figure.measures) {
    case Measures::step:
    case Measures::step_rate:
      if (scenario.communication)
        return messages_of(run, scenario.communication->operation == Operation::all_to_all, Activity::none);
      return FamilyName{std::string(of_software), scenario.software_name};
    case Measures::kernels:
      return FamilyName{name_of_kernels(figure.kernel_class, scenario), where_in_steps(scenario)};
    case Measures::exchange:
    case Measures::exchange_rate:
      return messages_of(run, true, figure.exchange);
    case Measures::exposed:
      return FamilyName{std::string(beside_compute), kind_of_sync(scenario)};
    case Measures::other:
      break;
  }
  return std::nullopt;
}

std::optional<double> expected_deviation(const Figure& figure, const Simulation& run,
                                         const Certainty& certainty) {
  if (figure.measures == Measures::step || figure.measures == Measures::step_rate) {
    const auto error = expected_error(run.work, run.graph, run.path, certainty);
    return error ? std::optional(error->deviation) : std::nullopt;
  }
  const std::optional<FamilyName> name = family_of(figure, run);
  const ErrorFamily* const known = name ? certainty.find(name->of, name->where) : nullptr;
  return known == nullptr ? std::nullopt : known->deviation;
}

void add_families(const CalibrationFiles& files, std::vector<ErrorFamily>& families) {
  const Calibration calibration = load_calibration(files.calibration);
  const std::unique_ptr<const Cost> cost = make_calibrated(calibration);
  const std::vector<MeasuredBlock> blocks = load_blocks(files.blocks, calibration);
  families.push_back({.of = std::string(in_a_row),
                      .where = where_alone(calibration.device.name, "calibrated"),
                      .residuals = residuals_of_blocks(blocks, *cost, calibration.device)});
  if (!calibration.described) return;
  const std::unique_ptr<const Cost> roofline = make_roofline();
  std::map<std::string, std::vector<Residual>> off;
  for (const Measured& m : calibration.grid) {
    const double predicted = to_seconds(roofline->time(m.op, *calibration.described, 0).time);
    off[kernels_name(m.op)].push_back({.name = {}, .off = std::log(m.seconds / predicted)});
  }
  for (const auto& [of, residuals] : off) {
    families.push_back({.of = of,
                        .where = where_alone(calibration.device.name, "roofline"),
                        .shapes = residuals.size(),
                        .deviation = deviation_of(residuals)});
  }
}

std::vector<Coverage> coverage_of(const CalibrationFiles& files) {
  const Calibration calibration = load_calibration(files.calibration);
  const std::unique_ptr<const Cost> cost = make_calibrated(calibration);
  const Device& device = calibration.device;
  Coverage shapes{.of = fmt::format("shapes left out, {}", device.name)};
  const std::unique_ptr<const Cost> physical = make_roofline();
  for (const FamilyFit& fit : calibration.families) {
    for (const LeftOut& one : left_out_of(fit, *physical, device, calibration.grid))
      shapes.add(one.off, one.deviation);
  }
  Coverage blocks{.of = fmt::format("blocks, {}", device.name)};
  const std::vector<Residual> all =
      residuals_of_blocks(load_blocks(files.blocks, calibration), *cost, device);
  for (std::size_t left_out = 0; left_out < all.size(); ++left_out) {
    std::vector<Residual> others = all;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(left_out));
    const double beyond = deviation_of(others).value_or(0);
    blocks.add(all[left_out].off, std::hypot(beyond, all[left_out].explained));
  }
  return {shapes, blocks};
}

Value document_of(const std::vector<ErrorFamily>& families) {
  Value rows = empty_list();
  for (const ErrorFamily& family : families) {
    Value row = empty_object();
    row.set("of", value_of(family.of));
    row.set("where", value_of(family.where));
    // Five digits of a share: what runs tell is the same on all machines.
    const auto rounded = [](double value) { return value_of(std::round(value * 1e5) / 1e5); };
    if (family.residuals.empty()) {
      row.set("shapes", value_of(family.shapes));
      row.set("deviation", rounded(family.deviation.value_or(0)));
    } else {
      Value residuals = empty_list();
      for (const Residual& one : family.residuals) {
        Value residual = empty_object();
        residual.set("name", value_of(one.name));
        residual.set("off", rounded(one.off));
        if (one.explained > 0) residual.set("explained", rounded(one.explained));
        residuals.items.push_back(std::move(residual));
      }
      row.set("residuals", std::move(residuals));
    }
    rows.items.push_back(std::move(row));
  }
  Value document = empty_object();
  document.set("schema", value_of(residuals_schema));
  document.set("about",
               value_of("How far times are off where they were measured: moesim validate --residuals"));
  document.set("families", std::move(rows));
  return document;
}

}  // namespace moesim
