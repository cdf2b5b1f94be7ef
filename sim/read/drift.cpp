#include "sim/read/drift.hpp"

#include "models/config/fields.hpp"
#include "sim/work/expert_loads.hpp"

namespace moesim {
namespace {

constexpr std::int64_t most_steps = 1'000'000;

std::shared_ptr<const Balancing> read_balancing(Reader& reader) {
  std::optional<Reader> part = reader.optional_part(
      "balancing", "what brings loads together again from step to step", member_names(balancings()));
  if (part) return make_member(*part, balancings(), "balancing", "none");
  std::vector<Declaration> unused;
  Reader none = Reader::describing(unused);
  return balancings().front()->make(none);
}

Fit fits_rebalance(const Scenario& scenario) {
  constexpr std::string_view key = "routing.drift.rebalance";
  const DriftRun& run = *scenario.drift;
  const Rebalance& rebalance = run.rebalance;
  if (rebalance.every == 0) return {};
  if (scenario.placement == Placement::in_order) {
    return Misfit(key,
                  "places experts anew, but routing.placement is in_order: expected balanced or by_topic")
        .with_hint("add --set routing.placement=balanced");
  }
  if (rebalance.every >= run.steps) {
    return Misfit("routing.drift.rebalance.every", "is {}, expected less than the {} steps of the run",
                  rebalance.every, run.steps);
  }
  if (rebalance.carries == Carried::weights) return {};
  constexpr std::string_view carries = "routing.drift.rebalance.carries";
  if (scenario.update.offloads) {
    return Misfit(carries, "is states, but optimizer.offload keeps them on the host: expected weights");
  }
  if (scenario.gradient_sync.updater == Updater::server) {
    return Misfit(carries, "is states, but a parameter server keeps them: expected weights");
  }
  return {};
}

}  // namespace

Rebalance read_rebalance(Reader reader) {
  Rebalance rebalance;
  read_fields(
      reader, rebalance,
      field(&Rebalance::every, {.name = "every",
                                .help = "steps between two placements of experts",
                                .at_least = 1,
                                .at_most = most_steps}),
      field(&Rebalance::window,
            {.name = "window",
             .help = "steps before, whose mean load decides; 0: the load of the step itself, foreseen",
             .fallback = 1,
             .at_least = 0,
             .at_most = most_steps}),
      choice(&Rebalance::carries, carried_names,
             {.name = "carries",
              .help = "what an expert that moves takes along: its parameters with the optimizer's states, or "
                      "these weights alone",
              .fallback = "states"}),
      field(&Rebalance::keeps_places,
            {.name = "keeps_places",
             .help = "what nodes, and ranks of a node, hold is handed out so that they keep most of it; else "
                     "as the balancer has it",
             .fallback = true}),
      field(&Rebalance::hidden, {.name = "hidden",
                                 .help = "share of the moving that goes on beside the step",
                                 .fallback = 0.0,
                                 .at_least = 0.0,
                                 .at_most = 1.0}));
  reader.finish();
  return rebalance;
}

DriftRun read_drift(Reader reader) {
  DriftRun run;
  read_fields(
      reader, run,
      field(&DriftRun::steps,
            {.name = "steps", .help = "of the run", .fallback = 100, .at_least = 2, .at_most = most_steps}),
      field(&DriftRun::drift, &Drift::half_life,
            {.name = "half_life",
             .help = "steps after which an expert's popularity keeps half of what sets it apart; 0: all of "
                     "it, always",
             .fallback = 0.0,
             .at_least = 0.0,
             .at_most = 1e9}));
  run.drift.balancing = read_balancing(reader);
  if (auto part = reader.optional_part("rebalance", "experts placed anew while the run goes on"))
    run.rebalance = read_rebalance(std::move(*part));
  reader.finish();
  return run;
}

Fit fits_drift(const Scenario& scenario) {
  if (!scenario.drift) return {};
  constexpr std::string_view key = "routing.drift";
  const Router& router = scenario.router;
  if (router.skew->is_even())
    return Misfit(key, "is given, but all experts are equally popular: expected a routing.skew that drifts");
  if (router.skew->varies()) {
    return Misfit(key,
                  "is given, but routing.skew is another for each microbatch: expected one for each layer");
  }
  if (!scenario.drift->drift.balancing->is_none() && router.balance > 0) {
    return Misfit("routing.balance",
                  "is {}, which stands for balancing in closed form, but routing.drift.balancing simulates "
                  "it: expected 0",
                  router.balance);
  }
  if (!has_uneven_loads(scenario)) {
    return Misfit(key,
                  "is given, but all ranks have the same rows whoever is popular (balance 1, or padded "
                  "buffers)");
  }
  if (scenario.repeat > 1) {
    return Misfit("repeat", "is {}, but routing.drift is a run of {} steps already: expected 1",
                  scenario.repeat, scenario.drift->steps);
  }
  return fits_rebalance(scenario);
}

}  // namespace moesim
