#include "models/routing/router.hpp"

namespace moesim {

void Router::check(const Gate& gate) const {
  routing->check(gate);
  skew->check(gate.experts);
  if (coactivation) moesim::check(*coactivation, gate);
}

bool Router::is_even(const Gate& gate, std::int64_t tokens) const {
  return routing->capacity(gate, tokens) > 0 || (!routing->draws() && (skew->is_even() || balance >= 1));
}

bool Router::varies() const { return routing->draws() || (skew->varies() && balance < 1); }

std::vector<double> Router::popularity(const Gate& gate, std::int64_t layer, std::int64_t microbatch) const {
  const double even = 1.0 / static_cast<double>(gate.experts);
  if (balance >= 1) return std::vector<double>(static_cast<std::size_t>(gate.experts), even);
  std::vector<double> shares = skew->popularity(gate.experts, layer, microbatch, Random(seed));
  for (double& share : shares) share = even + (1 - balance) * (share - even);
  return shares;
}

void Router::fill(Loads& loads, const Gate& gate, std::int64_t layer, std::int64_t microbatch,
                  std::int64_t group, std::int64_t sources, std::int64_t tokens) const {
  const std::vector<double> shares = popularity(gate, layer, microbatch);
  RandomStream stream = Random(seed).stream("routing", static_cast<std::uint64_t>(layer),
                                            static_cast<std::uint64_t>(microbatch),
                                            static_cast<std::uint64_t>(group) + (step << 32U));
  routing->route({.gate = gate, .sources = sources, .tokens = tokens, .popularity = shares}, stream, loads);
}

double Router::reach(const Gate& gate, std::int64_t blocks) const {
  return coactivation ? coactive_reach(gate, *coactivation, blocks)
                      : routing->reach(gate, blocks, Random(seed));
}

Loads Router::loads(const Gate& gate, std::int64_t layer, std::int64_t microbatch, std::int64_t group,
                    std::int64_t sources, std::int64_t tokens) const {
  Loads made;
  fill(made, gate, layer, microbatch, group, sources, tokens);
  return made;
}

void read_draws(Reader& reader, Router& router) {
  router.seed = static_cast<std::uint64_t>(
      reader.integer({.name = "seed", .help = "of all random draws", .fallback = 1, .at_least = 0}));
  router.balance =
      reader.number({.name = "balance",
                     .help = "how much of the skew a balancing loss or bias has taken away: load "
                             "max over mean - 1 shrinks by 1 - balance",
                     .fallback = 0.0,
                     .at_least = 0.0,
                     .at_most = 1.0});
  std::optional<Reader> part =
      reader.optional_part("skew", "how much more popular some experts are", member_names(skews()));
  if (!part && router.balance > 0 && !reader.is_describing())
    reader.fail("balance", fmt::format("is {}, but no skew is given that it takes away", router.balance));
  if (part) {
    router.skew = make_member(*part, skews(), "skew", "none");
  } else {
    std::vector<Declaration> unused;
    Reader none = Reader::describing(unused);
    router.skew = skews().front()->make(none);
  }
  if (auto coactive = reader.optional_part("coactivation", "experts that tokens choose together"))
    router.coactivation = read_coactivation(std::move(*coactive));
}

namespace {

/// Names of the policies of which something holds.
std::vector<std::string_view> members_that(bool (Routing::*holds)() const) {
  std::vector<std::string_view> names;
  for (const Entry<Routing>* member : routings()) {
    std::vector<Declaration> unused;
    Reader none = Reader::describing(unused);
    if ((*member->make(none).*holds)()) names.push_back(member->name);
  }
  return names;
}

}  // namespace

Router read_router(Reader& reader) {
  Router router;
  read_draws(reader, router);
  const Entry<Routing>& kind = choose_member(reader, routings(), "routing", "balanced");
  router.routing = kind.make(reader);
  if (!router.routing->has_skew() && !router.skew->is_even()) {
    reader.fail("skew", fmt::format("is given, but '{}' routing has none (with skew: {})", kind.name,
                                    fmt::join(members_that(&Routing::has_skew), ", ")));
  }
  if (!router.routing->is_free() && router.coactivation) {
    reader.fail("coactivation",
                fmt::format("is given, but '{}' routing does not let a token choose freely (expected: {})",
                            kind.name, fmt::join(members_that(&Routing::is_free), ", ")));
  }
  reader.finish();
  return router;
}

}  // namespace moesim
