// Scenarios drawn at random: small models on clusters of every topology, with every order of ranks, schedule,
// collective, plan of gradients and engine.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/base/random.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim::testing {

/// A drawn scenario as JSON, its parts by their keys, so that a test can replace one.
struct Drawn {
  std::int64_t devices = 1;
  std::string topology, parallelism, batch, schedule, gradient_sync, collectives, routing, model, engine;
  std::string faults = "{}";
  std::string resolution = "folded";
  std::string text() const;
};

/// What is drawn may not fit: read_drawn() then returns nothing.
Drawn draw(RandomStream random);
std::optional<Scenario> read_drawn(const Drawn& drawn);

}  // namespace moesim::testing
