// Everything that decides loads, as one value of the scenario: a policy, how popular experts are, and how
// well something has balanced them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "models/routing/coactivation.hpp"
#include "models/routing/loads.hpp"
#include "models/routing/routing.hpp"
#include "models/routing/skew.hpp"

namespace moesim {

/// Decides where tokens go.
struct Router {
  std::shared_ptr<const Routing> routing;
  std::shared_ptr<const Skew> skew;
  double balance = 0;  ///< how much of the natural skew is gone: 0 none of it, 1 all
  std::uint64_t seed = 1;
  std::uint64_t step = 0;  ///< of a run of several: tokens that are drawn are drawn anew in each
  std::optional<Coactivation> coactivation{};

  /// Throws InputError, whose message is what is wrong, where policy or skew cannot serve this gate.
  void check(const Gate& gate) const;
  /// Whether every rank gets the same rows in every layer and microbatch, so that one rank can stand for all:
  /// no skew or balance 1 without draws, or padded buffers.
  bool is_even(const Gate& gate, std::int64_t tokens) const;
  /// Whether the loads of a layer differ from one microbatch (or group) to another; if not, those of
  /// microbatch 0 and group 0 are those of all.
  bool varies() const;
  /// Popularity after balancing: 1/E + (1 - balance) (natural - 1/E), so that load max over mean - 1 shrinks
  /// by 1 - balance. Sums to 1.
  std::vector<double> popularity(const Gate& gate, std::int64_t layer, std::int64_t microbatch) const;
  /// How many of `blocks` contiguous blocks of experts one token reaches on average where experts are equally
  /// popular (Routing::reach), by coactivation where there is one.
  double reach(const Gate& gate, std::int64_t blocks) const;
  /// The loads of a layer and microbatch in expert-parallel group number `group`, whose `sources` ranks have
  /// `tokens` each. A function of its arguments and the seed only.
  Loads loads(const Gate& gate, std::int64_t layer, std::int64_t microbatch, std::int64_t group,
              std::int64_t sources, std::int64_t tokens) const;
  /// The same into `loads`, whose memory is used again.
  void fill(Loads& loads, const Gate& gate, std::int64_t layer, std::int64_t microbatch, std::int64_t group,
            std::int64_t sources, std::int64_t tokens) const;
};

/// Reads "seed", "balance" and "skew" into a router: what every kind of routing has.
void read_draws(Reader& reader, Router& router);
/// Reads the part "routing": the kind with its keys, and what every kind has. Read any other key of that part
/// before: this checks that none is left.
Router read_router(Reader& reader);

}  // namespace moesim
