// What an act of a program comes to in a scenario: the time of a compute act, the bytes of a call.
#pragma once

#include <cstdint>

#include "models/base/at.hpp"
#include "sim/layer/issue.hpp"
#include "sim/layer/program.hpp"

namespace moesim {

/// The pass of a block that a compute act is, or the part of it.
Timed timed_of(const Act& act, const LayerTimes& times);
/// The same of an act of a feed-forward block with other times, as of a rank with rows of its own.
Timed timed_of(const Act& act, const LayerTimes& times, const BlockTimes& feed_forward);

/// Beside the launches of a compute act: what its host pays in a pass of weight gradients alone, for the
/// weights of a block with the first act of it.
Time host_of_weights(const Act& act, const Scenario& scenario, std::int64_t layer);

/// Beside the launches of a segment of a pair: what its host pays to run it by itself.
Time host_of_node(const Issued& issued, const Program& program, const Scenario& scenario);

/// Of a call: the bytes of its request, which a ring sends `rounds` times, one after the other. Not of rows
/// that go to experts and back in an all-to-all (sim/work/exchange.hpp).
struct CallBytes {
  Bytes bytes;
  std::int64_t rounds = 1;
};

/// `computed_rows` are those of the experts of the rank that calls.
CallBytes bytes_of(const Act& call, const Scenario& scenario, std::int64_t layer, const LayerTimes& times,
                   std::int64_t computed_rows);

/// Whether a call goes on only when the host has read how many rows come. Without a host nobody reads.
bool host_reads_counts(const Act& call, const Scenario& scenario);

/// Of the host for a call; nothing where the code of a product sends what its parts need.
inline Time host_of_call(const Act& call, const Scenario& scenario) {
  return call.parts > 0 ? Time{} : scenario.habits().host.call;
}

/// The algorithm of a communication inside a layer.
const Collective& collective_of(const Collectives& collectives, Activity activity);

/// The programs of all layers of a scenario, and of the ends of its model.
class ModelPrograms {
 public:
  ModelPrograms(const Scenario& scenario, const WorkTimes& times);
  const Programs& layer(std::int64_t layer) const { return layers_[at(program_of_layer_, layer)]; }
  const Programs& of(const Issued& issued) const {
    return issued.end == Activity::none   ? layer(issued.layer)
           : issued.end == Activity::head ? head_
                                          : embedding_;
  }

 private:
  std::vector<Programs> layers_;  // that differ
  std::vector<std::size_t> program_of_layer_;
  Programs embedding_, head_;
};

}  // namespace moesim
