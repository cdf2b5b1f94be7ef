// What each task of a step errs by: its kernels or its messages, each with the errors that it shares with
// others.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/report/report.hpp"
#include "sim/scenario/certainty.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// An error that all times which have it share: of a family, or of one shape of it.
struct ErrorFactor {
  std::string of;
  double deviation = 0;  ///< of the logarithm of these times
};
using FactorId = std::uint32_t;

/// A part of a task's time, longer or shorter by all of its factors.
struct ErringPart {
  double share = 1;
  std::vector<FactorId> factors{};  ///< none: nothing is known of it
};
using ErringParts = std::vector<ErringPart>;

/// The errors of a scenario's times. The work outlives it.
class ErrorModel {
 public:
  ErrorModel(const Work& work, const Certainty& certainty);
  const std::vector<ErrorFactor>& factors() const { return factors_; }
  /// What a task's time is made of; shares add up to 1. Adds factors.
  const ErringParts& parts_of(const TaskGraph& graph, TaskId task);
  /// What the step as a whole errs by: what software does beyond its kernels and messages.
  const std::vector<FactorId>& of_step() const { return of_step_; }

 private:
  using Shape = std::tuple<OpKind, OpPass, std::int64_t, std::int64_t, std::int64_t, std::int64_t, double>;

  const ErringParts& compute_parts(const Tag& tag);
  const ErringParts& message_parts(const TaskGraph& graph, const Pattern& pattern, const Tag& tag);
  ErringParts parts_of_ops(const std::vector<Op>& ops);
  std::vector<FactorId> factors_of(const Op& kernel);
  const LayerOps& ops_of(std::size_t layer);
  /// Of kernels of a class in steps; where only the software was measured, on other devices, as far as the
  /// worst of these is off.
  std::optional<FactorId> in_steps(const std::string& of);
  /// The factor of a family, or of a kernel's shape by itself; nothing where none is known.
  std::optional<FactorId> family(const std::string& of, const std::string& where);
  std::optional<FactorId> shape(const std::string& of, const Op& kernel);

  const Work& work_;
  const Certainty& certainty_;
  std::string device_, steps_, alone_;  // where kernels were measured
  std::vector<std::size_t> first_alike_;
  std::vector<ErrorFactor> factors_;
  std::vector<FactorId> of_step_;
  std::map<std::pair<std::string, std::string>, std::optional<FactorId>> of_families_;
  std::map<std::pair<std::string, Shape>, std::optional<FactorId>> of_shapes_;
  std::map<std::size_t, LayerOps> of_layers_;
  std::map<std::tuple<Activity, std::size_t, OpPass>, ErringParts> computed_;
  std::map<std::string, ErringParts> sent_;
  ErringParts unknown_{{}};
};

/// What kernels of a class and precision are called: "matrix products in bf16".
std::string kernels_name(const Op& kernel);
/// What messages are called: "exchanges between nodes", "collectives inside nodes"; empty on other links and
/// on none.
std::string messages_name(bool is_exchange, const TaskGraph& graph, const Pattern& pattern,
                          const Fabric& fabric);

// Where families were measured.
inline constexpr std::string_view in_a_row = "kernels in a row";  ///< of what: beyond each by itself
inline constexpr std::string_view beside_compute = "gradients beside compute";
inline constexpr std::string_view of_software = "software";     ///< of what: beyond all else
inline constexpr std::string_view as_measured = "as measured";  ///< messages
/// "hugging_face on H200, roofline": kernels in steps.
std::string where_in_steps(const Scenario& scenario);
/// "H200, roofline": kernels by themselves, and in a row.
std::string where_alone(std::string_view device, std::string_view cost);
/// "ddp": what gradients are synchronised by.
std::string kind_of_sync(const Scenario& scenario);

/// The bars of a step, to first order: a time is as much longer as its share of the critical path says.
/// Nothing where more of the step is unknown than known, or nothing errs.
std::optional<ExpectedError> expected_error(const Work& work, const TaskGraph& graph,
                                            const std::vector<CriticalStep>& path,
                                            const Certainty& certainty);

}  // namespace moesim
