// What a step came to: facts, without formatting.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/units.hpp"
#include "models/cluster/fabric.hpp"
#include "models/config/value.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"
#include "sim/report/budget.hpp"
#include "sim/report/drift.hpp"
#include "sim/report/goodput.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// Sizes of the model, without multi-token prediction.
struct ModelReport {
  std::string name;
  std::int64_t parameters = 0;
  std::int64_t active = 0, active_without_embedding = 0;  ///< for one token
};

/// The passes of one pipeline rank.
struct PipelineRankReport {
  Time busy;    ///< inside passes: compute and the communication that blocks them
  Time span;    ///< what busy is measured against
  Time bubble;  ///< span - busy
  std::int64_t peak_microbatches_in_flight = 0;
};

/// Where a device's time goes, mean over devices; adds up to the step time.
struct Breakdown {
  Time compute, exposed_communication, bubble, optimizer;
  Time host;  ///< that nothing computes since the host has not issued what is next
};

/// Where passes spend their time, mean over devices: compute and the exchanges that it waits for. What is
/// left of the step is bubble, waiting for other stages, gradients and the optimizer.
struct PassBreakdown {
  Time forward, backward, backward_weight;  ///< passes that have the device to themselves
  Time overlapped;                          ///< forward and backward that share it
};

/// One phase of communication.
struct CommunicationReport {
  std::int64_t bytes = 0;  ///< sent by all devices together
  std::int64_t messages = 0;
  Time busy;     ///< that a device has it in flight, mean over devices
  Time exposed;  ///< of it, while the device does nothing else
  Time waiting;  ///< of an exchange: before it, from when a device has come to it until all have
};

/// Kernels of one class in a step, mean over devices.
struct KernelReport {
  Time time;
  Bytes bytes;                ///< that they move in device memory
  std::int64_t launches = 0;  ///< rounded up
  Energy energy{};            ///< that they draw, beyond idle; zero where the device's power is not known
};

/// What a device draws in a step, mean over devices.
struct PowerReport {
  double clock = 1;  ///< of its multiprocessors, over the full one
  /// Mean over the step, of which a pause counts as far as the window over which devices hold their mean.
  Power held;
  Power limit;           ///< the highest mean that they hold
  Power mean;            ///< over the step as it is
  Energy energy;         ///< of all of the step: idle, communication and kernels (KernelReport) add up to it
  Energy idle;           ///< of it, what is drawn whatever runs
  Energy communication;  ///< of it, for what it sends
  Power idle_power;
  Time cycle{};       ///< of the full clock; 0: not known
  Time limit_cost{};  ///< of the step, over what it takes at the full clock
};

/// Gradients of one part of the model (HeldPart).
struct GradientPartReport {
  std::int64_t bytes = 0;  ///< sent by all devices together
  Time busy;               ///< that a device has them in flight, mean over devices
};

/// A step of MoE training, or a part of one, over the whole training step; mean over devices.
struct StepReport {
  std::string step;  ///< attention, router, dispatch, experts, combine, loss, backward, gradients, ...
  std::string part;  ///< of backward and gradients; else empty
  Time compute{};
  Time communication{};    ///< in flight
  Time exposed{};          ///< of it, while the device does nothing else
  std::int64_t bytes = 0;  ///< sent by all devices together
};

/// All links of one class.
struct LinkClassReport {
  LinkClass link_class = LinkClass::nvlink;
  std::int64_t bytes = 0;
  double mean_utilization = 0, max_utilization = 0;  ///< of the links' rates over the step
};

/// Device memory of one pipeline rank.
struct MemoryReport {
  Bytes parameters, gradients, optimizer, activations, buffers;
  Bytes driver, channels;  ///< OutsideTensors
  Bytes tensors() const { return parameters + gradients + optimizer + activations + buffers; }
  Bytes total() const { return tensors() + driver + channels; }
};

/// The busiest expert of a layer.
struct BusiestExpert {
  std::int64_t layer = 0, expert = 0;
  double load_max_over_mean = 1;  ///< of its tokens over the step
};

/// How tokens were spread over experts.
struct RoutingReport {
  /// Tokens of the busiest expert over those of the mean one: mean over layers, microbatches and expert
  /// groups.
  double load_max_over_mean = 1;
  /// The same of rows of the ranks of an expert group: the others wait for the busiest at every exchange.
  double rank_load_max_over_mean = 1;
  double dropped_token_fraction = 0;  ///< of all choices, those over capacity
  double padded_row_fraction = 0;     ///< of the rows that are sent and computed, those that hold no token
  std::int64_t least = 0, most = 0;   ///< tokens that an expert computes in one layer and microbatch
  double mean = 0;
  std::vector<BusiestExpert> busiest;  ///< by layer, where loads are uneven
  std::optional<Time> imbalance_cost;  ///< of the step, over what it takes with even loads
};

/// Order statistics of a figure over runs: the smallest value that so many of them do not exceed.
struct Percentiles {
  double least = 0, p10 = 0, median = 0, p90 = 0, p99 = 0, most = 0, mean = 0;
};
/// Of at least one value.
Percentiles percentiles_of(std::vector<double> values);

/// Runs of one scenario with seeds of their own.
struct RepeatReport {
  std::int64_t runs = 0;
  Percentiles step_time;               ///< seconds
  std::optional<Percentiles> goodput;  ///< with failures
};

/// A kind of work on the critical path.
struct CriticalShare {
  std::string kind;
  double share = 0;  ///< of the step
};

/// What one kind of error adds to a step's.
struct ErrorSource {
  std::string of;        ///< "products in bf16"
  double deviation = 0;  ///< standard deviation of the logarithm of the step time
};

/// Where a measured step is expected: between the bars in bar_level of all cases.
struct ExpectedError {
  Time low, high;
  double deviation = 0;              ///< of the logarithm of the step time
  std::vector<ErrorSource> sources;  ///< the largest first
  double known_share = 0;            ///< of the step: what takes its time from something that was measured
  std::int64_t draws = 0;            ///< that the bars are of; 0: to first order
};

/// The report. Its JSON keys are those of docs/interface.md.
struct Report {
  std::string about, fingerprint;
  std::string title;  ///< `about`, and what the command line changed of it
  std::string plan;   ///< what was run, in one line (sim/report/plan.hpp)
  Time step_time;
  std::int64_t tokens = 0, devices = 0;
  ModelReport model;
  MfuAttention mfu_attention = MfuAttention::causal;
  /// By what is counted of causal attention, of forward and backward.
  std::array<Flops, std::size(mfu_attention_names)> flops_per_token;
  FlopRate peak;  ///< of one device in bf16, what MFU is measured against
  Time makespan;
  double bubble_fraction = 0;  ///< 1 - busy / span of the slowest rank, in the span that its schedule has
  double makespan_bubble_fraction = 0;      ///< 1 - busy / makespan of the same rank
  double bubble_mean = 0, bubble_most = 0;  ///< 1 - busy / span over the devices of all pipeline ranks
  Time bubble;
  std::vector<PipelineRankReport> pipeline_ranks;
  Breakdown breakdown;
  PassBreakdown passes;
  std::array<CommunicationReport, activity_count>
      communications;  ///< by Activity; only communication is filled in
  /// By HeldPart: its share of the phase "gradient". Parts that are sent together share the time by bytes.
  std::array<GradientPartReport, held_part_count> gradient_parts;
  std::vector<StepReport> steps;                         ///< with experts
  std::array<KernelReport, kernel_class_count> kernels;  ///< by KernelClass; of a model
  std::optional<PowerReport> power;                      ///< of devices whose power is known
  std::vector<LinkClassReport> link_classes;
  std::optional<RoutingReport> routing;
  std::optional<GoodputReport> goodput;  ///< with failures
  std::optional<BudgetReport> budget;    ///< of the tokens of a budget
  std::optional<RepeatReport> repeat;  ///< of several runs with seeds of their own; the rest is of the first
  std::optional<DriftReport> drift;    ///< of a run of many steps; the rest is of the first
  std::vector<MemoryReport> memory;    ///< by pipeline rank
  Bytes memory_capacity;
  std::vector<CriticalShare> critical_path;
  std::optional<ExpectedError> expected_error;  ///< where enough is known
  std::int64_t draws = 0;                       ///< of errors, asked for
  std::string engine;
  double wall_seconds = 0;
  std::vector<std::pair<std::string_view, Value>>
      measured;  ///< facts that no field holds, by path (fact.hpp)

  double tokens_per_second() const { return static_cast<double>(tokens) / to_seconds(step_time); }
  double tokens_per_second_per_device() const { return tokens_per_second() / static_cast<double>(devices); }
  Flops model_flops_per_token(MfuAttention attention) const { return at(flops_per_token, attention); }
  FlopRate flops_per_device(MfuAttention attention) const {
    return {model_flops_per_token(attention).count * tokens_per_second_per_device()};
  }
  double mfu(MfuAttention attention) const { return flops_per_device(attention) / peak; }
  // By the scenario's own convention.
  Flops model_flops_per_token() const { return model_flops_per_token(mfu_attention); }
  FlopRate flops_per_device() const { return flops_per_device(mfu_attention); }
  double mfu() const { return mfu(mfu_attention); }
  Bytes memory_peak() const;
  Bytes tensors_peak() const;  ///< without what no tensor holds: what an allocator's statistics show
  bool fits() const { return memory_peak() <= memory_capacity; }
};

/// Facts of a run. Pure. `wall_seconds` is left at zero.
Report summarize(const Work& work, const TaskGraph& graph, const Timeline& timeline,
                 const std::vector<CriticalStep>& path);

/// How tokens are spread over experts; nothing without experts. `imbalance_cost` is left empty.
std::optional<RoutingReport> routing_of(const Work& work);

/// Memory of the devices of each pipeline rank, of the busiest one where they differ.
std::vector<MemoryReport> memory_of_ranks(const Work& work);

}  // namespace moesim
