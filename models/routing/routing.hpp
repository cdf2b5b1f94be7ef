// Which experts tokens are sent to: rows of each expert, and how many nodes and ranks a token has to reach.
#pragma once

#include <cstdint>

#include "models/base/random.hpp"
#include "models/config/family.hpp"
#include "models/routing/loads.hpp"

namespace moesim {

/// A routing policy. A family.
class Routing {
 public:
  virtual ~Routing() = default;
  /// Where the choices of one layer and microbatch go, into `loads`, whose memory is used again. The stream
  /// belongs to (layer, microbatch, group).
  virtual void route(const Demand& demand, RandomStream& random, Loads& loads) const = 0;
  /// The same, as a value.
  Loads route(const Demand& demand, RandomStream& random) const;
  /// Rows of a source's buffer for one expert where buffers are padded: then all ranks are alike, whatever
  /// the loads. 0 where rows go as they are.
  virtual std::int64_t capacity(const Gate&, std::int64_t /*tokens*/) const { return 0; }
  /// Share of all choices that `sources` ranks with `tokens` each keep where all experts are equally popular
  /// and nothing is drawn: then all ranks are alike.
  virtual double kept(const Gate&, std::int64_t /*sources*/, std::int64_t /*tokens*/) const { return 1; }
  /// Of so many tokens of a source, those that fill buffers of their own.
  virtual std::int64_t group(std::int64_t tokens) const { return tokens; }
  /// Whether tokens are drawn one by one, so that loads stray even where all experts are equally popular.
  virtual bool draws() const { return false; }
  /// Whether the popularity of experts counts.
  virtual bool has_skew() const { return true; }
  /// Whether a token may have any k experts, which are then as likely as any other k where all are equally
  /// popular.
  virtual bool is_free() const { return true; }
  /// Throws InputError, whose message is what is wrong, where the policy cannot choose from this gate.
  virtual void check(const Gate&) const {}
  /// How many of `blocks` contiguous blocks of experts (nodes, ranks), as equal as they can be, one token
  /// reaches on average where experts are equally popular. Exact where any k experts are equally likely; a
  /// policy that chooses otherwise samples it with a standard error under 0.5 %.
  virtual double reach(const Gate& gate, std::int64_t blocks, const Random& random) const;
};

/// Expected number of blocks that k distinct experts, drawn evenly from `experts`, fall into: the sum
/// over blocks of n experts of 1 - C(E - n, k) / C(E, k).
double even_reach(std::int64_t experts, std::int64_t top_k, std::int64_t blocks);

/// The members of the family.
Register<Routing> routings();

}  // namespace moesim
