// Graphs for tests: described as plain lists that a test can permute and scale, and built from them.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/base/random.hpp"
#include "sim/engine/engine.hpp"
#include "sim/graph/task_graph.hpp"

namespace moesim::testing {

struct PartSketch {
  double flow_bytes = 0;
  std::vector<LinkLoad> loads;
};

struct TrafficSketch {
  Pattern pattern;
  std::vector<LinkLoad> loads;
  std::vector<ActorId> members;
  std::vector<PartSketch> parts;  // their loads add up to `loads`
};

struct TaskSketch {
  TaskKind kind = TaskKind::barrier;
  ActorId actor = nothing;
  Time duration;
  double slowdown = 1;
  PatternId pattern = nothing;
  std::vector<TaskId> after;  // other tasks of the sketch, of any number
};

struct Sketch {
  std::uint32_t actors = 0;
  std::vector<Rate> links;
  std::vector<TrafficSketch> patterns;
  std::vector<TaskSketch> tasks;
};

/// The graph of a sketch, tasks numbered as there.
TaskGraph build(const Sketch& sketch);
/// A sketch with every feature: `tasks` tasks in a random order of dependence, some traffic shared, some
/// merged.
Sketch random_sketch(RandomStream& random, std::uint32_t tasks);
/// The sketch with its traffic replaced by parts, of one flow each (the same bytes on every link of its
/// route).
Sketch in_flows(Sketch sketch, RandomStream& random);
/// Runs a graph on the engine of that name.
Timeline run(std::string_view engine, const TaskGraph& graph);
/// Whether this build has the engine; says so where it has not.
bool has_engine(std::string_view engine);
/// When tasks end, from the definition of fluid sharing alone: real-valued time, every rate computed anew
/// from the links (not the resources) after every event, by progressive filling without any shortcut.
std::vector<double> naive_ends(const TaskGraph& graph, std::span<const Rate> links);

}  // namespace moesim::testing
