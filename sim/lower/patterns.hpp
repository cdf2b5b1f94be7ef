// The traffic of each communication of a step, made when first asked for.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "models/routing/reach.hpp"
#include "sim/layer/acts.hpp"
#include "sim/lower/communicators.hpp"
#include "sim/work/exchange.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// Where in the model, and in which microbatch, an act is; layer -1 at the model's ends.
struct ActPlace {
  std::int64_t layer = -1, microbatch = 0;
};

/// Patterns of the calls of one lowering. `loads` are the work's, or null where ranks are taken as alike.
class Patterns {
 public:
  Patterns(const Work& work, const ExpertLoads* loads, const Communicators& communicators,
           GraphBuilder& builder);

  /// A call of a layer's program.
  PatternId of(ActorId actor, const Act& call, const ActPlace& place);
  /// What one pipeline rank sends to another, from the positions that fold to this one.
  PatternId send(std::int64_t from_rank, std::int64_t to_rank, std::uint32_t position);
  /// The sum of gradients over the copies of experts inside an expert group, of all layers of the actor's
  /// pipeline rank; `nothing` where no expert has copies on several ranks.
  PatternId copies(ActorId actor);
  /// Of an actor on the first or the last pipeline rank.
  PatternId embedding(ActorId actor, Bytes bytes);
  /// Gradients or parameters of that many bytes; for a server's plan, among those whom the operation
  /// concerns.
  PatternId sync(ActorId actor, Scope scope, Operation operation, const Collective& collective, Bytes bytes);

  /// What the groups of each communication so far do by themselves.
  const Footprints& footprints() const { return maker_.footprints(); }

 private:
  /// What ranks send where they differ.
  struct UnevenRows {
    std::span<const std::int64_t> sent;
    RankReach reach;
  };
  struct CachedPattern {
    std::uint64_t key;
    std::int64_t rounds;
    PatternId pattern;
  };

  PatternId find_or_make(std::size_t communicator, std::uint64_t key, auto make, std::int64_t rounds = 1);
  std::uint32_t load_number(ActorId actor, const ActPlace& place) const;
  std::int64_t computed_rows(ActorId actor, const ActPlace& place) const;
  PatternId exchange(ActorId actor, Leg leg, const ActPlace& place);
  PatternId even_exchange(ActorId actor, std::size_t layer, Leg leg);
  PatternId uneven_exchange(ActorId actor, std::size_t layer, std::uint32_t loads, Leg leg);
  PatternId make_exchange(const Communicator& communicator, std::size_t layer, Leg leg,
                          const UnevenRows* rows);
  PatternId in_groups(ActorId actor, const Act& call, const CallBytes& bytes, double busiest);
  PatternId ring(ActorId actor, const Collective& collective, const CallBytes& bytes);
  std::vector<Call> calls(const Communicator& communicator, const Request& prototype) const;
  const Collective& sums_in_place() const;
  Interplay interplay() const {
    return {.holds_multiprocessors = scenario_.collectives.communication_sms > 0,
            .slowed_by_compute = beside_compute_};
  }

  const Work& work_;
  const Scenario& scenario_;
  const ExpertLoads* loads_;
  const Communicators& communicators_;
  double beside_compute_ = 1;  ///< how much longer communication takes beside compute of the device
  GraphBuilder& builder_;
  PatternMaker maker_;
  std::vector<PatternId> sends_;
  std::vector<std::vector<CachedPattern>> cached_;           // by communicator
  std::vector<std::vector<PatternId>> uneven_;               // by communicator: by loads, then by Leg
  std::vector<std::pair<Experts, std::int64_t>> exchanged_;  // shapes of layers, and rows that they send
  Reaches reaches_;
  std::vector<DeviceId> devices_;  // all of them, in order
};

}  // namespace moesim
