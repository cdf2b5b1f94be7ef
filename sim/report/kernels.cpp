#include "sim/report/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "models/base/at.hpp"
#include "sim/report/block_shares.hpp"
#include "sim/work/copies.hpp"
#include "sim/work/update.hpp"

namespace moesim {
namespace {

/// Sums over devices; times in seconds.
using Sums = ClassShares;

/// A block that is cut is computed in pieces: each has its part of the bytes and launches by what it takes.
double part_of_block(const WorkTimes& times, const Tag& tag, double planned) {
  const bool is_attention = tag.activity == Activity::attention;
  if (!is_attention && tag.activity != Activity::feed_forward) return 1;
  const LayerTimes& layer = times.layer(tag.layer);
  const BlockPieces& pieces = is_attention ? layer.pieces : layer.feed_forward_pieces;
  if (at(pieces, pass_of(tag)).empty()) return 1;
  const double whole =
      to_seconds((is_attention ? layer.attention : layer.feed_forward).in(pass_of(tag)).time);
  return whole > 0 ? planned / whole : 1;
}

void add(const ClassShares& shares, double part, double taken, double devices, Sums& sums) {
  for (std::size_t i = 0; i < kernel_class_count; ++i) {
    sums[i].time += devices * taken * shares[i].time;
    sums[i].bytes += devices * part * shares[i].bytes;
    sums[i].launches += devices * part * shares[i].launches;
    sums[i].joules += devices * part * shares[i].joules;
  }
}

/// What a device runs in an update: before gradients are sent, and after.
struct UpdateParts {
  ClassShares gradients{}, optimizer{};  // with seconds as times
};

ClassShares classes_of(const std::vector<Repeated>& ops, const Scenario& scenario) {
  return sum_of(ops, scenario).classes();
}

/// Of the mean device of each pipeline rank.
std::vector<UpdateParts> update_parts(const Scenario& scenario) {
  const bool is_whole = scenario.gradient_sync.updater == Updater::every_rank;
  const HolderCounts owners =
      is_whole ? HolderCounts{} : sharers_of(holders_of(scenario), scenario.gradient_sync);
  std::vector<UpdateParts> parts;
  for (std::int64_t rank = 0; rank < scenario.layout.sizes().pipeline; ++rank) {
    const HeldElements held = held_elements(scenario, rank);
    const std::vector<Weight> weights = weights_of_rank(scenario, rank);
    parts.push_back({classes_of(gradient_ops(scenario, held.total()), scenario),
                     classes_of(update_ops(scenario, updated_part(held, owners, weights)), scenario)});
  }
  return parts;
}

/// Time of updates as their kernels divide it; bytes and energy are those of the mean device, whoever
/// updates.
class UpdateSums {
 public:
  explicit UpdateSums(const Scenario& scenario, const TaskGraph& graph)
      : parts_(update_parts(scenario)), begun_(graph.actor_count) {}

  /// Tasks come in the order in which an actor runs them.
  void add(const TaskGraph& graph, TaskId task, double taken, Sums& sums) {
    const ActorId actor = graph.actors[task];
    const UpdateParts& of_rank = at(parts_, graph.tags[task].pipeline_rank);
    const bool is_first = !begun_[actor];
    begun_[actor] = true;
    const bool has_gradients = at(of_rank.gradients, KernelClass::update).launches > 0;
    const ClassShares& classes = is_first && has_gradients ? of_rank.gradients : of_rank.optimizer;
    const ClassShare& kernels = at(classes, KernelClass::update);
    const double gaps = at(classes, KernelClass::host).time, devices = graph.devices_of(actor);
    const double gap = std::min(taken, kernels.time > 0 ? gaps : 0);
    at(sums, KernelClass::host).time += devices * gap;
    at(sums, KernelClass::update).time += devices * (taken - gap);
    at(sums, KernelClass::update).launches += devices * kernels.launches;
  }

  void add_bytes(double devices, Sums& sums) const {
    for (const UpdateParts& of_rank : parts_) {
      for (const ClassShares& classes : {of_rank.gradients, of_rank.optimizer}) {
        at(sums, KernelClass::update).bytes += devices * at(classes, KernelClass::update).bytes;
        at(sums, KernelClass::update).joules += devices * at(classes, KernelClass::update).joules;
      }
    }
  }

 private:
  std::vector<UpdateParts> parts_;
  std::vector<bool> begun_;  // by actor
};
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
  UpdateSums updates(work.scenario, graph);
  double all = 0;
  for (ActorId actor = 0; actor < graph.actor_count; ++actor) all += graph.devices_of(actor);
  const std::int64_t ranks = work.scenario.layout.sizes().pipeline;
  std::vector<ClassShares> copies;  // by pipeline rank
  for (std::int64_t rank = 0; rank < ranks; ++rank) copies.push_back(copy_shares(work.scenario, rank));
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
      updates.add(graph, task, taken, sums);
    } else if (tag.activity == Activity::copy) {
      add(at(copies, tag.pipeline_rank), 0, taken, devices, sums);
    } else {
      const double planned = to_seconds(graph.durations[task]);
      const double part = part_of_block(*work.times, tag, planned);
      add(shares_of(*work.times, tag).classes, part, taken, devices, sums);
    }
  }
  const double of_rank = all / static_cast<double>(ranks);
  updates.add_bytes(of_rank, sums);
  for (std::int64_t rank = 0; rank < ranks; ++rank) add(at(copies, rank), 1, 0, of_rank, sums);
  std::array<KernelReport, kernel_class_count> kernels;
  for (std::size_t i = 0; i < kernel_class_count; ++i)
    kernels[i] = {.time = from_seconds(sums[i].time / all),
                  .bytes = from_bytes(sums[i].bytes / all),
                  .launches = static_cast<std::int64_t>(std::ceil(sums[i].launches / all - 1e-9)),
                  .energy = {sums[i].joules / all}};
  return kernels;
}

}  // namespace moesim
