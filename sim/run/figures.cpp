#include "sim/run/figures.hpp"

#include <algorithm>
#include <array>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/transformer/model.hpp"
#include "sim/report/fact.hpp"
#include "sim/work/exchange.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

void need_model(const Report& report) {
  if (report.tokens == 0) throw InputError("figure", "needs a scenario with a model");
}

/// A fact of the table.
double told(const Simulation& run, std::string_view name) {
  const Value value = read(fact(name), run.report);
  if (value.kind == Value::Kind::null) need_model(run.report);
  return value.number;
}

double step_time(const Scenario&, const Simulation& run) { return told(run, "step_time_s"); }
double step_milliseconds(const Scenario&, const Simulation& run) { return told(run, "step_time_s") * 1e3; }
double step_microseconds(const Scenario&, const Simulation& run) { return told(run, "step_time_s") * 1e6; }
double makespan(const Scenario&, const Simulation& run) { return told(run, "makespan_s"); }
double bubble(const Scenario&, const Simulation& run) { return told(run, "bubble_fraction"); }
double token_rate(const Scenario&, const Simulation& run) { return told(run, "tokens_per_s_per_device"); }
double utilization(const Scenario&, const Simulation& run) { return 100 * told(run, "mfu"); }
/// With attention counted whole, whatever the scenario counts.
double whole_utilization(const Scenario&, const Simulation& run) { return 100 * told(run, "mfu_whole"); }
double gpu_hours(const Scenario&, const Simulation& run) {
  return 1e12 / told(run, "tokens_per_s_per_device") / 3600;
}

/// Of tensors: published peaks are those of PyTorch's allocator.
double peak_memory(const Scenario&, const Simulation& run) {
  return told(run, "memory.peak_of_tensors") / static_cast<double>(std::int64_t{1} << 30);
}

double microbatch_rate(const Scenario& scenario, const Simulation& run) {
  return static_cast<double>(scenario.microbatches()) /
         (to_seconds(run.report.step_time) * static_cast<double>(scenario.layout.sizes().pipeline));
}

double flops(const Scenario& scenario, const Simulation& run, bool causal) {
  need_model(run.report);
  const Batch& batch = scenario.batch;
  const Flops each =
      training_flops_per_token(scenario.model, batch.sequence_length, causal, false, batch.target_length);
  return each.count / 1e9;
}
double causal_flops(const Scenario& scenario, const Simulation& run) { return flops(scenario, run, true); }
double plain_flops(const Scenario& scenario, const Simulation& run) { return flops(scenario, run, false); }

/// Seconds of one exchange of that phase, by itself or beside what the scenario runs beside it.
double exchange_seconds(const Scenario& scenario, const Simulation& run, Activity phase) {
  need_model(run.report);
  const auto layers = std::count_if(scenario.model.layers.begin(), scenario.model.layers.end(),
                                    [](const Layer& layer) { return layer.is_moe; });
  const auto exchanges = static_cast<double>(layers * scenario.microbatches()) /
                         static_cast<double>(scenario.layout.sizes().pipeline);
  if (exchanges <= 0 || at(run.report.communications, phase).messages == 0)
    throw InputError("figure", "needs a scenario whose ranks exchange tokens");
  return to_seconds(at(run.report.communications, phase).busy) / exchanges;
}
double dispatch_time(const Scenario& scenario, const Simulation& run) {
  return exchange_seconds(scenario, run, Activity::dispatch) * 1e6;
}
/// Rows that go where rows went before, with what was counted then: what benchmarks of libraries time.
double cached_dispatch_time(const Scenario& scenario, const Simulation& run) {
  return exchange_seconds(scenario, run, Activity::combine_backward) * 1e6;
}
double combine_time(const Scenario& scenario, const Simulation& run) {
  return exchange_seconds(scenario, run, Activity::combine) * 1e6;
}

/// Milliseconds of the forward exchanges of a microbatch, out and home in every layer with experts.
double forward_exchanges(const Scenario& scenario, const Simulation& run) {
  const auto layers = std::count_if(scenario.model.layers.begin(), scenario.model.layers.end(),
                                    [](const Layer& layer) { return layer.is_moe; });
  return static_cast<double>(layers) * 1e3 *
         (exchange_seconds(scenario, run, Activity::dispatch) +
          exchange_seconds(scenario, run, Activity::combine));
}
/// Milliseconds of the forward of all layers of a microbatch one after the other, with their exchanges.
double forward_layers(const Scenario& scenario, const Simulation& run) {
  need_model(run.report);
  Time blocks;
  for (std::int64_t layer = 0; layer < std::ssize(scenario.model.layers); ++layer) {
    const LayerTimes& times = run.work.times->layer(layer);
    blocks += times.attention.in(OpPass::forward).time + times.feed_forward.in(OpPass::forward).time;
  }
  return to_seconds(blocks) * 1e3 + forward_exchanges(scenario, run);
}
double forward_exchange_share(const Scenario& scenario, const Simulation& run) {
  return 100 * forward_exchanges(scenario, run) / forward_layers(scenario, run);
}

/// Bytes as DeepEP's tests count them: a token once for each node that it reaches, its own included; inside
/// one node once for each rank.
double logical_bandwidth(const Scenario& scenario, const Simulation& run, Activity phase,
                         Precision precision) {
  const auto layer = std::find_if(scenario.model.layers.begin(), scenario.model.layers.end(),
                                  [](const Layer& one) { return one.is_moe; });
  const double seconds = exchange_seconds(scenario, run, phase);
  const std::int64_t ranks = scenario.layout.sizes().expert;
  const std::int64_t nodes =
      std::max<std::int64_t>(1, ranks / static_cast<std::int64_t>(scenario.fabric().devices_per_node()));
  const double reach = reach_of(scenario, layer->experts, nodes > 1 ? nodes : ranks);
  const double bytes = static_cast<double>(tokens_per_device(scenario)) * reach *
                       static_cast<double>(row_bytes(scenario.model.hidden, precision).count);
  return bytes / seconds / 1e9;
}
double dispatch_bandwidth(const Scenario& scenario, const Simulation& run) {
  return logical_bandwidth(scenario, run, Activity::dispatch, scenario.precision.dispatch);
}
double cached_dispatch_bandwidth(const Scenario& scenario, const Simulation& run) {
  return logical_bandwidth(scenario, run, Activity::combine_backward, scenario.precision.dispatch);
}
double combine_bandwidth(const Scenario& scenario, const Simulation& run) {
  return logical_bandwidth(scenario, run, Activity::combine, scenario.precision.combine);
}

/// Of the time that a device has exchanges of tokens, or is there and waits for its peers, the latter, in
/// percent.
double waiting_share(const Scenario&, const Simulation& run) {
  need_model(run.report);
  double waits = 0, all = 0;
  for (const Activity activity : communications) {
    if (!is_exchange(activity)) continue;
    const CommunicationReport& of = at(run.report.communications, activity);
    waits += to_seconds(of.waiting);
    all += to_seconds(of.waiting + of.busy);
  }
  if (all <= 0) throw InputError("figure", "needs a scenario whose ranks exchange tokens");
  return 100 * waits / all;
}

/// Where slots of the first overlapped block begin, in microseconds after its first exchange: a layer of the
/// backward opens a slot with the gradient of its combine, and ends with the input gradient of attention.
struct Slots {
  std::vector<Time> starts;
  Time end;
};

Slots slots_of_first_block(const Simulation& run) {
  const TaskGraph& graph = run.graph;
  const auto opens = [&](TaskId task) {
    return graph.tags[task].overlapped && graph.tags[task].activity == Activity::combine_backward;
  };
  TaskId first = nothing;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (opens(task) && (first == nothing || run.timeline.starts[task] < run.timeline.starts[first]))
      first = task;
  }
  if (first == nothing) throw InputError("figure", "needs a schedule that overlaps forward and backward");
  Slots slots;
  for (TaskId task = 0; task < graph.size(); ++task) {
    const Tag& tag = graph.tags[task];
    const Tag& block = graph.tags[first];
    if (tag.microbatch != block.microbatch || tag.pipeline_rank != block.pipeline_rank ||
        tag.chunk != block.chunk)
      continue;
    if (opens(task)) slots.starts.push_back(run.timeline.starts[task] - run.timeline.starts[first]);
    if (tag.activity == Activity::attention && tag.pass == PassKind::backward_input) {
      slots.end = std::max(slots.end, run.timeline.ends[task] - run.timeline.starts[first]);
    }
  }
  std::sort(slots.starts.begin(), slots.starts.end());
  return slots;
}
double second_slot(const Scenario&, const Simulation& run) {
  const Slots slots = slots_of_first_block(run);
  if (slots.starts.size() < 2) throw InputError("figure", "needs two layers in an overlapped block");
  return to_seconds(slots.starts[1]) * 1e6;
}
double third_slot(const Scenario&, const Simulation& run) {
  return to_seconds(slots_of_first_block(run).end) * 1e6;
}

/// Milliseconds of the kernels of one class, without the gaps between them.
template <KernelClass of_class>
double kernel_time(const Scenario&, const Simulation& run) {
  need_model(run.report);
  return to_seconds(at(run.report.kernels, of_class).time) * 1e3;
}

template <KernelClass of_class>
constexpr Figure kernels_figure(std::string_view name) {
  return {name, "ms", kernel_time<of_class>, Measures::kernels, of_class};
}

/// Milliseconds in which a device does nothing but communicate.
double exposed_communication(const Scenario&, const Simulation& run) {
  return to_seconds(run.report.breakdown.exposed_communication) * 1e3;
}

constexpr std::array all{
    Figure{"step", "s", step_time, Measures::step},
    Figure{"step_ms", "ms", step_milliseconds, Measures::step},
    Figure{"step_us", "us", step_microseconds, Measures::step},
    Figure{"makespan", "s", makespan, Measures::step},
    Figure{"bubble", "", bubble},
    Figure{"microbatches_per_rank", "1/s", microbatch_rate, Measures::step_rate},
    Figure{"tokens_per_device", "1/s", token_rate, Measures::step_rate},
    Figure{"gpu_hours_per_1e12_tokens", "h", gpu_hours, Measures::step},
    Figure{"mfu", "%", utilization, Measures::step_rate},
    Figure{"mfu_full_attention", "%", whole_utilization, Measures::step_rate},
    Figure{"memory", "GiB", peak_memory},
    Figure{"flops_per_token", "GFLOP", causal_flops},
    Figure{"flops_per_token_full_attention", "GFLOP", plain_flops},
    Figure{"dispatch_time", "us", dispatch_time, Measures::exchange, KernelClass::host, Activity::dispatch},
    Figure{"combine_time", "us", combine_time, Measures::exchange, KernelClass::host, Activity::combine},
    Figure{"dispatch_bandwidth", "GB/s", dispatch_bandwidth, Measures::exchange_rate, KernelClass::host,
           Activity::dispatch},
    Figure{"combine_bandwidth", "GB/s", combine_bandwidth, Measures::exchange_rate, KernelClass::host,
           Activity::combine},
    Figure{"cached_dispatch_time", "us", cached_dispatch_time, Measures::exchange, KernelClass::host,
           Activity::combine_backward},
    Figure{"cached_dispatch_bandwidth", "GB/s", cached_dispatch_bandwidth, Measures::exchange_rate,
           KernelClass::host, Activity::combine_backward},
    Figure{"forward_layers", "ms", forward_layers},
    Figure{"forward_exchanges", "ms", forward_exchanges},
    Figure{"forward_exchange_share", "%", forward_exchange_share},
    Figure{"waiting_share", "%", waiting_share},
    Figure{"second_slot", "us", second_slot},
    Figure{"third_slot", "us", third_slot},
    kernels_figure<KernelClass::products>("products"),
    kernels_figure<KernelClass::grouped>("grouped_products"),
    kernels_figure<KernelClass::attention>("attention"),
    kernels_figure<KernelClass::streaming>("streaming"),
    kernels_figure<KernelClass::gather_scatter>("gather_scatter"),
    kernels_figure<KernelClass::loss>("loss"),
    Figure{"exposed_communication", "ms", exposed_communication, Measures::exposed},
    kernels_figure<KernelClass::update>("update"),
};

}  // namespace

std::span<const Figure> figures() { return all; }

}  // namespace moesim
