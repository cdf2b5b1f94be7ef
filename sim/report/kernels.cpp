#include "sim/report/kernels.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/at.hpp"
#include "sim/report/block_shares.hpp"
#include "sim/work/copies.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/update_bytes.hpp"

namespace moesim {
namespace {

/// Sums over devices; times in seconds.
using Sums = ClassShares;

/// The attention block of context parallelism is computed in pieces: each has its part of the bytes and
/// launches by what it takes.
double part_of_block(const WorkTimes& times, const Tag& tag, double planned) {
  if (tag.activity != Activity::attention) return 1;
  const double whole = to_seconds(times.layer(tag.layer).attention.in(pass_of(tag)).time);
  return whole > 0 ? planned / whole : 1;
}

void add(const ClassShares& shares, double part, double taken, double devices, Sums& sums) {
  for (std::size_t i = 0; i < kernel_class_count; ++i) {
    sums[i].time += devices * taken * shares[i].time;
    sums[i].bytes += devices * part * shares[i].bytes;
    sums[i].launches += devices * part * shares[i].launches;
  }
}

/// How often the software moves the bytes of an update.
double passes_of_update(const Scenario& scenario) {
  std::vector<Op> kernels;
  scenario.software->add_kernels(
      make_streaming(OpKind::elementwise, "update", OpPass::backward_weight, 1, 1, 1, Module::update),
      kernels);
  return kernels.front().passes;
}

/// By one pass over them, of the mean device of a pipeline rank.
double update_bytes_moved(const Scenario& scenario, std::int64_t pipeline_rank) {
  const UpdateTraffic traffic = update_traffic(scenario);
  const HeldElements held = held_elements(scenario, pipeline_rank);
  const GradientPlan& plan = scenario.gradient_sync;
  const std::int64_t updated = plan.updater == Updater::every_rank
                                   ? held.total()
                                   : shard_of(held, sharers_of(holders_of(scenario), plan));
  return traffic.held * static_cast<double>(held.total()) + traffic.updated * static_cast<double>(updated);
}

/// Of all copies of a device of a pipeline rank in a step; times are shares.
ClassShares copy_shares(const Scenario& scenario, std::int64_t pipeline_rank) {
  ClassShares all{};
  double seconds = 0;
  for (const auto& [op, times] : copies_of_step(scenario, pipeline_rank)) {
    OpSum one;
    one.add(op, scenario);
    const double taken = static_cast<double>(times) * to_seconds(one.timed().time);
    add(one.shares(op.part).classes, static_cast<double>(times), taken, 1, all);
    seconds += taken;
  }
  for (ClassShare& of_class : all) of_class.time /= std::max(1e-12, seconds);
  return all;
}

}  // namespace

std::array<KernelReport, kernel_class_count> kernels_of(const Work& work, const TaskGraph& graph,
                                                        const Timeline& timeline) {
  Sums sums{};
  double all = 0;
  for (ActorId actor = 0; actor < graph.actor_count; ++actor) all += graph.devices_of(actor);
  const std::int64_t ranks = work.scenario.layout.sizes().pipeline;
  std::vector<ClassShares> copies;  // by pipeline rank
  for (std::int64_t rank = 0; rank < ranks; ++rank) copies.push_back(copy_shares(work.scenario, rank));
  const bool has_pieces = work.scenario.layout.sizes().context > 1;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (is_stall(graph, task)) {
      const TaskId held_up = held_up_by(graph, task);
      at(sums, KernelClass::host).time +=
          graph.devices_of(graph.actors[held_up]) * to_seconds(timeline.ends[task] - timeline.ends[held_up]);
    }
    if (graph.kinds[task] != TaskKind::compute) continue;
    const Tag& tag = graph.tags[task];
    const double devices = graph.devices_of(graph.actors[task]);
    const double taken = to_seconds(timeline.ends[task] - timeline.starts[task]);
    if (tag.activity == Activity::optimizer) {
      const double gap = std::min(taken, to_seconds(work.scenario.cluster->device.launch_overhead));
      at(sums, KernelClass::host).time += devices * gap;
      at(sums, KernelClass::update).time += devices * (taken - gap);
      at(sums, KernelClass::update).launches += devices;
    } else if (tag.activity == Activity::copy) {
      add(at(copies, tag.pipeline_rank), 0, taken, devices, sums);
    } else {
      const double planned = to_seconds(graph.durations[task]);
      const double part = has_pieces ? part_of_block(*work.times, tag, planned) : 1;
      add(shares_of(*work.times, tag).classes, part, taken, devices, sums);
    }
  }
  const double of_rank = all / static_cast<double>(ranks);
  const double passes = passes_of_update(work.scenario);
  for (std::int64_t rank = 0; rank < ranks; ++rank) {
    at(sums, KernelClass::update).bytes += of_rank * passes * update_bytes_moved(work.scenario, rank);
    add(at(copies, rank), 1, 0, of_rank, sums);
  }
  std::array<KernelReport, kernel_class_count> kernels;
  for (std::size_t i = 0; i < kernel_class_count; ++i)
    kernels[i] = {.time = from_seconds(sums[i].time / all),
                  .bytes = from_bytes(sums[i].bytes / all),
                  .launches = static_cast<std::int64_t>(std::ceil(sums[i].launches / all - 1e-9))};
  return kernels;
}

}  // namespace moesim
