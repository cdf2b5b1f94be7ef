#include "models/cost/calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "models/base/at.hpp"
#include "models/base/whole.hpp"
#include "models/cost/access_fit.hpp"
#include "models/cost/op_line.hpp"

namespace moesim {
namespace {

double log2_of(std::int64_t count) {
  return std::log2(static_cast<double>(std::max<std::int64_t>(1, count)));
}

double seconds(const Op& op, const Cost& physical, const Device& device) {
  return std::max(1e-12, to_seconds(physical.time(op, device, 0).time));
}

/// Products of one weight. The share of the peak that is reached tells waves and tiles that do not come out
/// even.
SurfacePoint product_place(const Op& op, const Cost& physical, const Device& device) {
  const double ideal = op.flops.count / std::max(1.0, device.gemm_in(op.precision).peak.count);
  return {log2_of(op.m), log2_of(op.n), log2_of(op.k), 2 * std::log2(seconds(op, physical, device) / ideal)};
}

/// The product of one expert, as one of many kernels.
Op part_of(const Op& op, std::int64_t rows) {
  if (op.rows_are_depth) return make_gemm(op.name, op.pass, op.n, op.k, rows, op.precision);
  return make_gemm(op.name, op.pass, rows, op.n, op.k, op.precision);
}

/// The total, how many experts share it, how unevenly, and how much longer one kernel an expert would take
/// than one for all: the libraries choose between the two.
SurfacePoint grouped_place(const Op& op, const Cost& physical, const Device& device) {
  std::int64_t total = 0, busy = 0, most = 0;
  double apart = 0;
  for (const std::int64_t rows : op.rows) {
    if (rows == 0) continue;
    total += rows;
    busy += 1;
    most = std::max(most, rows);
    apart += seconds(part_of(op, rows), physical, device);
  }
  const double mean = static_cast<double>(total) / static_cast<double>(std::max<std::int64_t>(1, busy));
  return {log2_of(total),
          log2_of(busy),
          log2_of(op.n),
          log2_of(op.k),
          std::log2(static_cast<double>(std::max<std::int64_t>(1, most)) / std::max(1.0, mean)),
          3 * std::log2(apart / seconds(op, physical, device))};
}

/// Head sizes and masks are few: they stand far apart. A window that holds the sequence is none.
SurfacePoint attention_place(const Op& op) {
  const std::int64_t seen = op.window > 0 ? std::min(op.window, op.sequence) : op.sequence;
  const std::int64_t value = op.value_head_dim > 0 ? op.value_head_dim : op.head_dim;
  return {log2_of(product_of({op.batch, op.heads})),
          log2_of(op.sequence),
          3 * log2_of(op.head_dim),
          3 * log2_of(value),
          op.causal ? 2.0 + 0.5 * (log2_of(op.sequence) - log2_of(seen)) : 0.0,
          0.5 * (log2_of(op.heads) - log2_of(op.kv_heads))};
}

/// Rows and width; bytes of an element tell what a family of streaming ops does, and of a permutation in how
/// many places a row goes; a router's choices are told.
SurfacePoint streaming_place(const Op& op) {
  if (op.kind == OpKind::copy) return {log2_of(op.bytes.count)};
  if (op.kind == OpKind::router) return {log2_of(op.m), log2_of(op.n), 0, log2_of(op.top_k)};
  const double elements = static_cast<double>(op.m) * static_cast<double>(op.n);
  const double bytes = static_cast<double>(op.bytes.count) / std::max(1.0, elements);
  return {log2_of(op.m), log2_of(op.n), 2 * std::log2(std::max(1e-3, bytes))};
}

Family read_family(Reader& reader) {
  Family family;
  family.kind = static_cast<OpKind>(reader.choice({.name = "kind", .help = "of op"}, op_kind_names));
  constexpr std::array<std::string_view, 3> passes{"forward", "backward_input", "backward_weight"};
  family.pass = static_cast<OpPass>(reader.choice({.name = "pass", .help = "of training"}, passes));
  family.precision =
      static_cast<Precision>(reader.choice({.name = "precision", .help = "of operands"}, precision_names));
  return family;
}

SurfaceShape read_shape(Reader& reader) {
  const auto positive = [&](const char* name) {
    return reader.number({.name = name, .help = "of the surface", .at_least = 1e-6, .at_most = 1e3});
  };
  return {positive("slow_length"), positive("slow_deviation"), positive("fast_length"),
          positive("fast_deviation"), positive("noise")};
}

OwnFit read_own(Reader reader, FlopRate peak) {
  OwnFit own;
  own.kernel.peak = peak;
  read_product(reader, own.kernel);
  own.shape = read_shape(reader);
  own.physical = read_errors(reader.part("physical", "errors of the physical model alone"));
  own.left_out = read_errors(reader.part("left_out", "errors with each measurement left out in turn"));
  reader.finish();
  return own;
}

FamilyFit read_fit(Reader& reader, const Device& device) {
  FamilyFit fit;
  fit.family = read_family(reader);
  fit.shape = read_shape(reader);
  if (std::optional<Reader> own = reader.optional_part("own", "the own kernel, fitted apart from libraries"))
    fit.own = read_own(std::move(*own), device.gemm_in(fit.family.precision).peak);
  fit.physical = read_errors(reader.part("physical", "errors of the physical model alone"));
  fit.left_out = read_errors(reader.part("left_out", "errors with each measurement left out in turn"));
  fit.held_out = read_errors(reader.part("held_out", "errors on shapes that are not in the grid"));
  reader.finish();
  return fit;
}

std::string number(double value) { return fmt::format("{:.6g}", value); }

std::string write(const SurfaceShape& s) {
  return fmt::format(
      R"("slow_length": {}, "slow_deviation": {}, "fast_length": {}, "fast_deviation": {}, "noise": {})",
      number(s.slow_length), number(s.slow_deviation), number(s.fast_length), number(s.fast_deviation),
      number(s.noise));
}

std::string write(const OwnFit& own) {
  Value kernel;
  write_product(kernel, own.kernel);
  std::string numbers;
  for (const auto& [key, value] : kernel.members) numbers += fmt::format("\"{}\": {}, ", key, print(value));
  return fmt::format(R"("own": {{{}{}, "physical": {}, "left_out": {}}}, )", numbers, write(own.shape),
                     write_errors(own.physical), write_errors(own.left_out));
}

std::string write(const FamilyFit& f) {
  constexpr std::array<std::string_view, 3> passes{"forward", "backward_input", "backward_weight"};
  return fmt::format(
      R"({{"kind": "{}", "pass": "{}", "precision": "{}", {}, {}"physical": {}, "left_out": {}, "held_out": {}}})",
      at(op_kind_names, f.family.kind), at(passes, f.family.pass), at(precision_names, f.family.precision),
      write(f.shape), f.own ? write(*f.own) : std::string(), write_errors(f.physical),
      write_errors(f.left_out), write_errors(f.held_out));
}

template <class T, class Write>
std::string lines(const std::vector<T>& items, Write each) {
  std::string text;
  for (const T& item : items) text += (text.empty() ? "\n    " : ",\n    ") + each(item);
  return "[" + text + "\n  ]";
}

/// What libraries and the own kernel take. Files from before the two were told apart have no `own_time_s`:
/// then what the libraries took, roughly, is not used.
void read_methods(Reader& reader, Measured& measured) {
  static_cast<void>(reader.raw("method", "which library or kernel was fastest"));
  const auto seconds = [&](const char* name, const char* help) {
    return reader.number({.name = name, .help = help, .fallback = 0.0, .at_least = 0.0, .at_most = 1e3});
  };
  const double library = seconds("library_time_s", "of a call of the fastest library");
  measured.own_seconds = seconds("own_time_s", "of a call of the own kernel");
  if (measured.own_seconds > 0) measured.library_seconds = library;
  measured.slower_is_rough = reader.flag({.name = "slower_is_rough",
                                          .help = "whether the slower of the two is from a few samples",
                                          .fallback = false});
}

/// A grouped product with rows for one expert alone stands for an ordinary product: those are computed by
/// libraries, however fast the own kernel is.
void take_library(Measured& measured) {
  if (measured.op.kind != OpKind::gemm) return;
  if (measured.library_seconds > 0) measured.seconds = measured.library_seconds;
  measured.library_seconds = measured.own_seconds = 0;
  measured.slower_is_rough = false;
}

constexpr std::size_t whole = std::numeric_limits<std::size_t>::max();

}  // namespace

Family family_of(const Op& op) {
  switch (op.kind) {
    case OpKind::gemm:
    case OpKind::grouped_gemm:
      return {op.kind, op.pass, op.precision};
    case OpKind::attention:
    case OpKind::rms_norm:
    case OpKind::swiglu:
    case OpKind::router:
      return {op.kind, op.pass == OpPass::forward ? OpPass::forward : OpPass::backward_input,
              Precision::bf16};
    default:
      return {op.kind, OpPass::forward, Precision::bf16};
  }
}

std::string name_of(const Family& family) {
  constexpr std::array<std::string_view, 3> passes{"forward", "backward_input", "backward_weight"};
  return fmt::format("{} {} {}", at(op_kind_names, family.kind), at(passes, family.pass),
                     at(precision_names, family.precision));
}

Op simplified(const Op& op) {
  if (op.kind != OpKind::grouped_gemm) return op;
  const auto has_rows = [](std::int64_t rows) { return rows > 0; };
  if (std::count_if(op.rows.begin(), op.rows.end(), has_rows) != 1) return op;
  return part_of(op, *std::find_if(op.rows.begin(), op.rows.end(), has_rows));
}

SurfacePoint place_of(const Op& op, const Cost& physical, const Device& device) {
  if (op.kind == OpKind::gemm) return product_place(op, physical, device);
  if (op.kind == OpKind::grouped_gemm) return grouped_place(op, physical, device);
  if (op.kind == OpKind::attention) return attention_place(op);
  return streaming_place(op);
}

Errors errors_of(std::vector<double> logarithms) {
  Errors errors{.shapes = logarithms.size()};
  if (logarithms.empty()) return errors;
  for (double& value : logarithms) value = std::abs(std::expm1(value));
  std::sort(logarithms.begin(), logarithms.end());
  const auto quantile = [&](double share) {
    return at(logarithms, share * static_cast<double>(logarithms.size() - 1) + 0.5);
  };
  errors.median = quantile(0.5);
  errors.p90 = quantile(0.9);
  errors.worst = logarithms.back();
  return errors;
}

Errors read_errors(Reader reader) {
  Errors errors;
  errors.shapes =
      static_cast<std::size_t>(reader.integer({.name = "shapes", .help = "number of shapes", .at_least = 0}));
  errors.median = reader.number({.name = "median", .help = "relative error", .at_least = 0.0});
  errors.p90 = reader.number({.name = "p90", .help = "relative error", .at_least = 0.0});
  errors.worst = reader.number({.name = "worst", .help = "relative error", .at_least = 0.0});
  reader.finish();
  return errors;
}

std::string write_errors(const Errors& e) {
  return fmt::format(R"({{"shapes": {}, "median": {:.4f}, "p90": {:.4f}, "worst": {:.4f}}})", e.shapes,
                     e.median, e.p90, e.worst);
}

Measured read_measured(Reader& reader) {
  Measured measured;
  measured.op = simplified(read_ops(reader).front());
  measured.seconds =
      reader.number({.name = "time_s", .help = "of one call", .at_least = 1e-9, .at_most = 1e3});
  measured.held_out =
      reader.flag({.name = "held_out", .help = "whether it judges the fit", .fallback = false});
  measured.line = reader.value();
  for (const char* name :
       {"noise", "samples", "clock_mhz", "power_w", "share_of_best_product", "share_of_bandwidth"})
    static_cast<void>(reader.raw(name, "how it was measured"));
  read_methods(reader, measured);
  take_library(measured);
  return measured;
}

Calibration read_calibration(Reader& reader) {
  Calibration calibration;
  const std::string schema = reader.text({.name = "schema", .help = "which kind of file this is"});
  if (schema != calibration_schema && !reader.is_describing())
    reader.fail("schema", fmt::format("is '{}', expected '{}'", schema, calibration_schema),
                schema == measurements_schema ? "moesim calibrate --measurements FILE fits it" : "");
  const auto kept = [&](const char* name, const char* help) {
    const Value* value = reader.raw(name, help);
    return value != nullptr ? *value : Value{};
  };
  calibration.about = kept("measured", "device, driver, clocks, date");
  Reader device = reader.part("device", "the physical model, as a device file");
  calibration.device_file = device.value();
  calibration.device = read_device(device);
  if (std::optional<Reader> described = reader.optional_part("described", "the device file of the fit")) {
    calibration.described_file = described->value();
    calibration.described = read_device(*described);
  }
  for (Reader& item : reader.items("families", "what corrects the physical model"))
    calibration.families.push_back(read_fit(item, calibration.device));
  if (std::optional<Reader> judged = reader.optional_part("held_out", "errors over all shapes off the grid"))
    calibration.held_out = read_errors(std::move(*judged));
  for (Reader& item : reader.items("measurements", "the grid")) {
    calibration.grid.push_back(read_measured(item));
    item.finish();
  }
  for (Reader& item : reader.items("accesses", "how kernels of common software go over memory"))
    calibration.accesses.push_back(read_access_fit(item, calibration.device));
  calibration.accesses_about = kept("accesses_measured", "device, driver, library, date of these");
  calibration.rest = kept("also_measured", "launches, contention, copies, links");
  reader.finish();
  return calibration;
}

std::string write_calibration(const Calibration& c) {
  const std::string described =
      c.described ? fmt::format("  \"described\": {},\n", print(c.described_file, whole)) : "";
  const std::string accesses =
      c.accesses.empty()
          ? ""
          : fmt::format("  \"accesses_measured\": {},\n  \"accesses\": {},\n", print(c.accesses_about, whole),
                        lines(c.accesses, [&](const AccessFit& f) { return write_access_fit(f, c.device); }));
  return fmt::format(
      "{{\n  \"schema\": \"{}\",\n  \"measured\": {},\n  \"device\": {},\n{}  \"families\": {},\n  "
      "\"held_out\": {},\n{}  \"measurements\": {},\n"
      "  \"also_measured\": {}\n}}\n",
      calibration_schema, print(c.about, whole), print(c.device_file, whole), described,
      lines(c.families, [](const FamilyFit& f) { return write(f); }), write_errors(c.held_out), accesses,
      lines(c.grid, [](const Measured& m) { return print(m.line, whole); }), print(c.rest, whole));
}

}  // namespace moesim
