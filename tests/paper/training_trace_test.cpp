// The overlapped block against a measured training trace (deepseek-ai/profile-data, train.json): two layer
// slots of a forward and a backward that share one H800, expert parallel 64.
#include <catch2/catch.hpp>

#include <array>
#include <map>

#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;

namespace {

/// A stage of the trace: work and pass as our tags have them, and its measured start and length in
/// microseconds.
struct Measured {
  Activity activity;
  PassKind pass;
  double start, span;
};

using Slot = std::array<Measured, 10>;
constexpr PassKind F = PassKind::forward, B = PassKind::backward_input, W = PassKind::backward_weight;

constexpr std::array<Slot, 2> trace{{
    {{{Activity::combine_backward, B, 0, 4424},
      {Activity::attention, F, 475, 4833},
      {Activity::feed_forward, B, 5312, 5746},
      {Activity::dispatch, F, 5310, 6087},
      {Activity::dispatch_backward, B, 11406, 7338},
      {Activity::feed_forward, W, 11060, 5333},
      {Activity::feed_forward, F, 16397, 4289},
      {Activity::attention, B, 20690, 9215},
      {Activity::attention, W, 29907, 2381},
      {Activity::combine, F, 20689, 7327}}},
    {{{Activity::combine_backward, B, 29908, 5227},
      {Activity::attention, F, 32291, 4393},
      {Activity::feed_forward, B, 36686, 5467},
      {Activity::dispatch, F, 36709, 5746},
      {Activity::dispatch_backward, B, 42465, 7912},
      {Activity::feed_forward, W, 42155, 5059},
      {Activity::feed_forward, F, 47217, 4420},
      {Activity::attention, B, 51640, 9563},
      {Activity::attention, W, 61205, 2390},
      {Activity::combine, F, 51640, 8262}}},
}};
constexpr double third_slot = 61206;

Scenario block() { return load_scenario(MOESIM_SOURCE "/scenarios/deepseek-v3-trace.json"); }

/// The tasks of the first overlapped pair by work, pass and layer.
using Tasks = std::map<std::array<int, 3>, TaskId>;

Tasks first_pair(const TaskGraph& graph) {
  Tasks tasks;
  for (TaskId task = 0; task < graph.size(); ++task) {
    const Tag& tag = graph.tags[task];
    if (tag.overlapped && tag.layer >= 0) {
      tasks.try_emplace({static_cast<int>(tag.activity), static_cast<int>(tag.pass), tag.layer}, task);
    }
  }
  return tasks;
}

/// The task of a stage: forwards run up the layers of their chunk (2, 3), backwards down those of the other
/// (1, 0).
TaskId task_of(const Tasks& tasks, const Measured& stage, int slot) {
  const int layer = stage.pass == F ? 2 + slot : 1 - slot;
  return tasks.at({static_cast<int>(stage.activity), static_cast<int>(stage.pass), layer});
}

/// Puts the measured lengths in the place of the model's: what is left is order and dependencies.
void put_measured(TaskGraph& graph) {
  const Tasks tasks = first_pair(graph);
  for (int slot = 0; slot < 2; ++slot) {
    for (const Measured& stage : trace[static_cast<std::size_t>(slot)]) {
      const TaskId task = task_of(tasks, stage, slot);
      const Time span = from_seconds(stage.span * 1e-6);
      if (graph.kinds[task] == TaskKind::compute) {
        graph.durations[task] = span;
        graph.slowdowns[task] = 1;
      } else {
        Pattern pattern;
        pattern.latency = span;
        graph.patterns[task] = static_cast<PatternId>(graph.pattern_table.size());
        graph.pattern_table.push_back(pattern);
      }
    }
  }
}

/// Microseconds from the start of the first exchange of the pair.
double since_first(const Timeline& timeline, const Tasks& tasks, Time at) {
  return to_seconds(at - timeline.starts[task_of(tasks, trace[0][0], 0)]) * 1e6;
}

}  // namespace

TEST_CASE(
    "The overlapped block has the trace's starts within 2 % of a slot when its stages take what was "
    "measured") {
  const Scenario scenario = block();
  TaskGraph graph = lower(work_of(scenario));
  put_measured(graph);
  const Timeline timeline = scenario.engine->run(graph);
  const Tasks tasks = first_pair(graph);
  for (int slot = 0; slot < 2; ++slot) {
    for (const Measured& stage : trace[static_cast<std::size_t>(slot)]) {
      const double start = since_first(timeline, tasks, timeline.starts[task_of(tasks, stage, slot)]);
      CAPTURE(slot, name_of(stage.activity), static_cast<int>(stage.pass), start, stage.start);
      CHECK(std::abs(start - stage.start) < 0.02 * 30'600);
    }
  }
  const double second = since_first(timeline, tasks, timeline.starts[task_of(tasks, trace[1][0], 1)]);
  const double third = since_first(timeline, tasks, timeline.ends[task_of(tasks, trace[1][7], 1)]);
  CHECK(second == Approx(29'908).epsilon(0.02));
  CHECK(third == Approx(third_slot).epsilon(0.02));
}

TEST_CASE("Each compute stage, of kernels listed from the trace, takes what it took there within 12 %") {
  const Simulation run = simulate(block());
  const Tasks tasks = first_pair(run.graph);
  for (std::size_t stage = 0; stage < trace[0].size(); ++stage) {
    double simulated = 0, measured = 0;
    for (int slot = 0; slot < 2; ++slot) {
      const Measured& one = trace[static_cast<std::size_t>(slot)][stage];
      const TaskId task = task_of(tasks, one, slot);
      if (run.graph.kinds[task] != TaskKind::compute) continue;
      simulated += to_seconds(run.timeline.ends[task] - run.timeline.starts[task]) * 1e6;
      measured += one.span;
    }
    if (measured <= 0) continue;
    CAPTURE(name_of(trace[0][stage].activity), static_cast<int>(trace[0][stage].pass), simulated / 2,
            measured / 2);
    CHECK(simulated == Approx(measured).epsilon(0.12));
  }
}

TEST_CASE("The overlapped block has the trace's slots within 15 % with kernels at the rates of the trace") {
  const Simulation run = simulate(block());
  const Tasks tasks = first_pair(run.graph);
  const double second = since_first(run.timeline, tasks, run.timeline.starts[task_of(tasks, trace[1][0], 1)]);
  const double third = since_first(run.timeline, tasks, run.timeline.ends[task_of(tasks, trace[1][7], 1)]);
  CAPTURE(second, third);
  CHECK(second == Approx(29'908).epsilon(0.15));
  CHECK(third == Approx(third_slot).epsilon(0.15));
}

TEST_CASE("DeepSeek-V3 takes 180,000 GPU hours for a trillion tokens, within 10 %") {
  const Report report = simulate(load_scenario(MOESIM_SOURCE "/scenarios/deepseek-v3-h800.json")).report;
  const double steps = 1e12 / static_cast<double>(report.tokens);
  const double hours = steps * to_seconds(report.step_time) / 3600 * static_cast<double>(report.devices);
  CAPTURE(hours);
  CHECK(hours == Approx(180'000).epsilon(0.10));
  CHECK(report.fits());
}
