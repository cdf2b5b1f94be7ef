// The register of engines, and the error that they share for tasks that never ran.
#include "sim/engine/engine.hpp"

#include <fmt/format.h>

#include "models/base/error.hpp"

namespace moesim {

extern const Entry<Engine> fluid_engine;
extern const Entry<Engine> ideal_engine;
extern const Entry<Engine> simgrid_engine;

namespace {

constexpr std::size_t named_tasks = 5;

constinit const Entry<Engine>* const members[] = {&fluid_engine, &ideal_engine, &simgrid_engine};

}  // namespace

Register<Engine> engines() { return members; }

FlowGrain read_flow_grain(Reader& reader) {
  return static_cast<FlowGrain>(
      reader.choice({.name = "flows",
                     .help = "what of a communication advances at one rate: all of it, what a device sends, "
                             "or what it sends to one other",
                     .fallback = "coflow"},
                    flow_grain_names));
}

void fail_too_long(Time now, Time span) {
  throw RunError(
      fmt::format("a task that starts at {} and takes {} ends beyond what can be simulated ({} days)",
                  print(now), print(span), longest_days));
}

void check_finished(const TaskGraph& graph, std::size_t finished, std::span<const std::uint32_t> waiting) {
  if (finished == graph.size()) return;
  std::string words;
  std::size_t named = 0;
  for (TaskId task = 0; task < graph.size() && named < named_tasks; ++task) {
    if (waiting[task] == 0) continue;
    words +=
        fmt::format("{}({}) waits for {}", named++ == 0 ? "" : ", ", describe(graph, task), waiting[task]);
  }
  throw RunError(fmt::format("{} of {} tasks never ran: {}", graph.size() - finished, graph.size(), words));
}

}  // namespace moesim
