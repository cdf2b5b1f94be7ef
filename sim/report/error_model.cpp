#include "sim/report/error_model.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/at.hpp"
#include "sim/report/block_shares.hpp"
#include "sim/report/fact.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

std::string name_of_class(KernelClass kernels) {
  return std::string(fact(kernel_columns()[static_cast<std::size_t>(kernels)]).label);
}

const std::vector<Op>& in_pass(const BlockOps& ops, OpPass pass) {
  return pass == OpPass::forward          ? ops.forward
         : pass == OpPass::backward_input ? ops.backward_input
                                          : ops.backward_weight;
}

constexpr bool is_inside(LinkClass link) {
  return link == LinkClass::nvlink || link == LinkClass::pcie || link == LinkClass::on_chip;
}
constexpr bool is_between(LinkClass link) {
  return link == LinkClass::infiniband || link == LinkClass::leaf_spine || link == LinkClass::spine_core ||
         link == LinkClass::ethernet;
}

}  // namespace

std::string kernels_name(const Op& kernel) {
  std::string name = name_of_class(kernel.kernel_class);
  if (kernel.kernel_class != KernelClass::products && kernel.kernel_class != KernelClass::grouped)
    return name;
  return fmt::format("{} in {}", name, at(precision_names, kernel.precision));
}

std::string messages_name(bool is_exchange, const TaskGraph& graph, const Pattern& pattern,
                          const Fabric& fabric) {
  if (graph.link_loads_of(pattern).empty()) return {};  // a host's work
  bool leaves = false;
  for (const LinkLoad& load : graph.link_loads_of(pattern)) {
    const LinkClass link = fabric.links()[load.link].link_class;
    if (!is_inside(link) && !is_between(link)) return {};
    leaves = leaves || is_between(link);
  }
  return fmt::format("{} {}", is_exchange ? "exchanges" : "collectives",
                     leaves ? "between nodes" : "inside nodes");
}

std::string where_in_steps(const Scenario& scenario) {
  return fmt::format("{} on {}, {}", scenario.software_name, scenario.cluster->device.name,
                     scenario.cost_name);
}

std::string where_alone(std::string_view device, std::string_view cost) {
  return fmt::format("{}, {}", device, cost);
}

std::string kind_of_sync(const Scenario& scenario) {
  return scenario.words.gradient_sync.substr(0, scenario.words.gradient_sync.find(' '));
}

ErrorModel::ErrorModel(const Work& work, const Certainty& certainty) : work_(work), certainty_(certainty) {
  const Scenario& scenario = work.scenario;
  if (!scenario.cluster || scenario.communication) return;
  steps_ = where_in_steps(scenario);
  alone_ = where_alone(scenario.cluster->device.name, scenario.cost_name);
  first_alike_ = first_of_shape(scenario);
  if (const auto known = family(std::string(of_software), scenario.software_name)) of_step_.push_back(*known);
}

std::optional<FactorId> ErrorModel::family(const std::string& of, const std::string& where) {
  const auto [place, is_new] = of_families_.emplace(std::pair(of, where), std::nullopt);
  if (!is_new) return place->second;
  if (const ErrorFamily* const found = certainty_.find(of, where)) {
    place->second = static_cast<FactorId>(factors_.size());
    factors_.push_back({.of = of, .deviation = *found->deviation});
  }
  return place->second;
}

std::optional<FactorId> ErrorModel::in_steps(const std::string& of) {
  if (const auto known = family(of, steps_)) return known;
  const ErrorFamily* const widest = of_step_.empty() ? nullptr : certainty_.widest(of);
  return widest == nullptr ? std::nullopt : family(of, widest->where);
}

std::optional<FactorId> ErrorModel::shape(const std::string& of, const Op& kernel) {
  const Shape sizes{kernel.kind, kernel.pass,        kernel.m,          kernel.n,
                    kernel.k,    kernel.bytes.count, kernel.flops.count};
  const auto [place, is_new] = of_shapes_.emplace(std::pair(of, sizes), std::nullopt);
  if (!is_new) return place->second;
  const Scenario& scenario = work_.scenario;
  std::optional<double> deviation = scenario.cost->deviation(kernel, scenario.cluster->device);
  if (const ErrorFamily* const found = certainty_.find(of, alone_); !deviation && found != nullptr)
    deviation = found->deviation;
  if (!deviation) return std::nullopt;
  place->second = static_cast<FactorId>(factors_.size());
  factors_.push_back({.of = of, .deviation = *deviation});
  return place->second;
}

std::vector<FactorId> ErrorModel::factors_of(const Op& kernel) {
  const std::string of = kernels_name(kernel);
  if (const auto known = family(of, steps_)) return {*known};
  const auto own = shape(of, kernel);
  if (!own) {
    const auto elsewhere = in_steps(of);
    return elsewhere ? std::vector{*elsewhere} : std::vector<FactorId>{};
  }
  std::vector<FactorId> factors{*own};
  if (const auto common = family(std::string(in_a_row), alone_)) factors.push_back(*common);
  return factors;
}

ErringParts ErrorModel::parts_of_ops(const std::vector<Op>& ops) {
  const Scenario& scenario = work_.scenario;
  std::vector<Op> kernels;
  for (const Op& op : ops) scenario.software->add_kernels(op, kernels);
  ErringParts parts;
  double all = 0;
  for (const Op& kernel : kernels) {
    const double seconds =
        to_seconds(scenario.cost->time(kernel, scenario.cluster->device, {0, scenario.clock}).time);
    if (seconds <= 0) continue;
    std::vector<FactorId> factors = factors_of(kernel);
    all += seconds;
    const auto same = std::find_if(parts.begin(), parts.end(),
                                   [&](const ErringPart& part) { return part.factors == factors; });
    if (same == parts.end())
      parts.push_back({seconds, std::move(factors)});
    else
      same->share += seconds;
  }
  for (ErringPart& part : parts) part.share /= all;
  return parts.empty() ? unknown_ : parts;
}

const LayerOps& ErrorModel::ops_of(std::size_t layer) {
  const auto known = of_layers_.find(layer);
  if (known != of_layers_.end()) return known->second;
  return of_layers_.emplace(layer, ops_of_layer(work_.scenario, layer, work_.loads.get())).first->second;
}

const ErringParts& ErrorModel::compute_parts(const Tag& tag) {
  const Scenario& scenario = work_.scenario;
  const bool is_layer = tag.activity == Activity::attention || tag.activity == Activity::feed_forward;
  const std::size_t layer = is_layer ? at(first_alike_, tag.layer) : 0;
  const OpPass pass = pass_of(tag);
  const auto [place, is_new] = computed_.emplace(std::tuple(tag.activity, layer, pass), ErringParts{});
  if (!is_new) return place->second;
  const auto of_class = [&](KernelClass kernels) -> ErringParts {
    const auto known = in_steps(name_of_class(kernels));
    return known ? ErringParts{{1, {*known}}} : unknown_;
  };
  switch (tag.activity) {
    case Activity::attention:
      return place->second = parts_of_ops(in_pass(ops_of(layer).attention, pass));
    case Activity::feed_forward:
      return place->second = parts_of_ops(in_pass(ops_of(layer).feed_forward, pass));
    case Activity::embedding:
      return place->second = parts_of_ops(in_pass(lower_embedding(scenario.model, share_of(scenario)), pass));
    case Activity::head:
      return place->second = parts_of_ops(
                 in_pass(lower_head(scenario.model, share_of(scenario), scenario.habits().fused_loss), pass));
    case Activity::optimizer:
      return place->second = of_class(KernelClass::update);
    case Activity::copy:
      return place->second = of_class(KernelClass::streaming);
    default:
      return place->second = unknown_;
  }
}

const ErringParts& ErrorModel::message_parts(const TaskGraph& graph, const Pattern& pattern, const Tag& tag) {
  const Scenario& scenario = work_.scenario;
  const bool is_alone = scenario.communication.has_value();
  const bool exchanges =
      is_alone ? scenario.communication->operation == Operation::all_to_all : is_exchange(tag.activity);
  const std::string of = messages_name(exchanges, graph, pattern, scenario.fabric());
  const bool synchronises = tag.activity == Activity::gradient || tag.activity == Activity::parameter;
  const auto [place, is_new] = sent_.emplace(of + (synchronises ? "!" : ""), unknown_);
  if (!is_new) return place->second;
  std::optional<FactorId> known;
  if (synchronises) known = family(std::string(beside_compute), kind_of_sync(scenario));
  if (!known && !of.empty()) known = family(of, std::string(as_measured));
  if (known) place->second = {{1, {*known}}};
  return place->second;
}

const ErringParts& ErrorModel::parts_of(const TaskGraph& graph, TaskId task) {
  const Tag& tag = graph.tags[task];
  switch (graph.kinds[task]) {
    case TaskKind::compute:
      return work_.times ? compute_parts(tag) : unknown_;
    case TaskKind::coflow:
      return work_.scenario.cluster ? message_parts(graph, graph.pattern_table[graph.patterns[task]], tag)
                                    : unknown_;
    default:
      return unknown_;
  }
}

}  // namespace moesim
