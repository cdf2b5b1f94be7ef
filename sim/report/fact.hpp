// The table of facts: each number of a run once, with its names, its unit and how it is read off. Every
// report, table and picture reads it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "models/config/value.hpp"
#include "sim/report/report.hpp"

namespace moesim {

/// What a fact is counted in.
enum class Unit : std::uint8_t {
  count,
  seconds,
  bytes,
  share,  ///< in [0, 1]; people read percent
  ratio,
  tokens_per_s,
  flops,
  teraflops,
  joules,
  watts,
  kilowatt_hours,
  hours,
  kilograms,
  money,  ///< in the currency of the scenario's prices
  flag,
  text,
  rows,  ///< no number: a list or an object of its own
};
inline constexpr std::string_view unit_names[] = {"count", "s",      "B",    "share", "ratio", "tokens/s",
                                                  "FLOP",  "TFLOPS", "J",    "W",     "kWh",   "h",
                                                  "kg",    "money",  "flag", "text",  "rows"};

/// Which of two runs a fact puts ahead.
enum class Better : std::uint8_t { neither, lower, higher };

/// A fact of a run. It does not apply where its value is null.
struct Fact {
  std::string_view path;   ///< of its key in the JSON report: "breakdown_s.compute"
  std::string_view label;  ///< for people: "exposed communication"
  Unit unit;
  Better better;
  Value (*of)(const Report&);     ///< reads it off the report; null where no field of it holds the fact
  std::string_view name = {};     ///< of its column, and in options: "compute_s"; empty: the path
  std::string_view heading = {};  ///< the label over a column: "exposed comm."; empty: the label
  int digits = 2;                 ///< behind the point, of a share or a ratio
  /// Reads what no field holds off the run, when that is summarized.
  Value (*measure)(const Scenario&, const TaskGraph&, const Timeline&) = nullptr;

  std::string_view called() const { return name.empty() ? path : name; }
  std::string_view headed() const { return heading.empty() ? label : heading; }
};

/// All facts, in the order of the JSON report. A new number is one row here.
std::span<const Fact> facts();

/// The fact of that name or path; null where there is none.
const Fact* find_fact(std::string_view name);
/// The same, where it is known that there is one.
const Fact& fact(std::string_view name);

/// What the facts that no field holds come to, by their paths.
std::vector<std::pair<std::string_view, Value>> measure_facts(const Scenario& scenario,
                                                              const TaskGraph& graph,
                                                              const Timeline& timeline);

/// The value of a fact, as the JSON report has it; null where it does not apply.
Value read(const Fact& fact, const Report& report);
/// The same of a number; 0 where it does not apply.
double number(std::string_view name, const Report& report);

/// A value of the fact as people read it: "1.93 s", "37.3 %", "6,114"; empty where it does not apply.
std::string print(const Fact& fact, const Value& value);
std::string print(std::string_view name, const Report& report);

/// Names of the columns of one run's row. What came later stands behind them, so that scripts that count
/// columns go on to work.
std::span<const std::string_view> run_columns();
/// Names of the columns by which runs are compared, and of what JSON has of each.
std::span<const std::string_view> compared_columns();
std::span<const std::string_view> compared_keys();
/// Names of the columns that came later, behind an error's.
std::span<const std::string_view> later_columns();
/// Names of the columns of times by class of kernel, in the order of KernelClass, and of what the host held
/// up: empty where a class has no kernel.
std::span<const std::string_view> kernel_columns();
/// The last columns of a row by what they are about (kernels, energy, a whole training): columns about what
/// no row has are left out.
std::span<const std::span<const std::string_view>> last_columns();

}  // namespace moesim
