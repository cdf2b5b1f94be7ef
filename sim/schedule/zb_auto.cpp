// Zero bubble with a budget of activations (Qi et al., Zero Bubble Pipeline Parallelism, arXiv 2401.10241,
// section 3): an order fitted to given durations. 1F1B, ZB-H1 and ZB-H2, those of the paper's heuristic and
// those of a greedy rule are tried; the numbers of the best rule are then turned one by one. Limit 1 stands
// for the paper's ZB-1p, 2 for ZB-2p.
#include <algorithm>
#include <optional>
#include <utility>

#include "models/base/error.hpp"
#include "sim/schedule/greedy.hpp"
#include "sim/schedule/one_f_one_b.hpp"
#include "sim/schedule/replay.hpp"
#include "sim/schedule/rounds.hpp"
#include "sim/schedule/schedule.hpp"
#include "sim/schedule/zero_bubble.hpp"

namespace moesim {
namespace {

enum class Objective : std::uint8_t { span, makespan };
constexpr std::string_view objective_names[] = {"span", "makespan"};

/// Passes that a search may place over all its tries: some 30 ms. A count, so that every machine finds the
/// same order.
constexpr std::int64_t passes_to_place = 250'000;

constexpr double shares[] = {0, 0.5, 1};

/// No rank can be faster: it does all its work, and until its first B comes back from the last rank it has
/// nothing to do but the forwards that it may hold.
Time least_span(const PipelineShape& shape, const ActivationLimit& limit) {
  const std::int64_t forwards = std::min(static_cast<std::int64_t>(limit.microbatches), shape.microbatches);
  // Rank 0 is furthest from the last one.
  const Time until_backward =
      shape.forward + (shape.forward + shape.backward_input + 2 * shape.send) * (shape.ranks - 1);
  const Time work = (shape.forward + shape.backward_input + shape.backward_weight) * shape.microbatches;
  return work + std::max(Time{}, until_backward - shape.forward * forwards);
}

class Search {
 public:
  Search(const PipelineShape& shape, const ActivationLimit& limit, Objective objective)
      : shape_(shape),
        limit_(limit),
        objective_(objective),
        enough_(least_span(shape, limit)),
        tries_(passes_to_place / (3 * shape.ranks * shape.microbatches)) {}

  Order best() {
    try_known(one_f_one_b_order(shape_, false));
    try_known(zero_bubble_order(shape_, 1));
    try_known(zero_bubble_order(shape_, 2));
    try_rounds();
    for (const GreedyRule& kind : kinds()) {
      GreedyRule best_of_kind = kind;
      std::optional<Cost> cost;
      for (const std::vector<std::int64_t>& ahead : starts()) {
        GreedyRule rule = best_of_kind;
        rule.ahead = ahead;
        const Cost reached = attempt(rule);
        if (cost && *cost <= reached) continue;
        cost = reached;
        best_of_kind = rule;
      }
      turn_shares(best_of_kind);
    }
    while (turn_ahead()) {
    }
    best_.order.flows_into_next_step = objective_ == Objective::span;
    return std::move(best_.order);
  }

 private:
  /// What is made small, and what decides among equals.
  using Cost = std::pair<Time, Time>;

  Cost cost(Time span, Time makespan) const {
    return objective_ == Objective::span ? Cost{span, makespan} : Cost{makespan, span};
  }

  bool goes_on() const { return tries_ > 0 && (!best_cost_ || best_cost_->first > enough_); }

  void keep(Plan plan) {
    const Cost reached = cost(plan.span, plan.makespan);
    if (best_cost_ && *best_cost_ <= reached) return;
    best_cost_ = reached;
    best_ = std::move(plan);
  }

  void try_known(Order order) {
    for (const std::vector<Slot>& rank : order.ranks) {
      if (peak_activations(rank, limit_.kept_for_weight) > limit_.microbatches + 1e-9) return;
    }
    const Replay times = replay(order, {.forward = shape_.forward,
                                        .backward_input = shape_.backward_input,
                                        .backward_weight = shape_.backward_weight,
                                        .overlapped = {},
                                        .send = shape_.send});
    keep({.order = std::move(order), .span = times.longest_span(), .makespan = times.makespan});
  }

  void try_rounds() {
    for (const bool late : {false, true})
      for (const bool skip : {false, true})
        for (const bool fill : {false, true})
          keep(
              rounds_plan(shape_, limit_, {.late_forward = late, .skip_forward = skip, .always_fill = fill}));
  }

  /// Room is held free for a split only where a split takes any.
  std::vector<GreedyRule> kinds() const {
    std::vector<GreedyRule> all;
    for (const bool in_turn : {true, false})
      for (const bool room_to_split : {false, true})
        if (!room_to_split || (limit_.kept_for_weight > 1 && limit_.kept_for_weight <= limit_.microbatches))
          all.push_back({.in_turn = in_turn,
                         .ahead = {},
                         .room_to_split = room_to_split,
                         .forward_share = 0.5,
                         .weight_share = 0.5});
    return all;
  }

  Cost attempt(const GreedyRule& rule) {
    --tries_;
    Plan plan = greedy_plan(shape_, limit_, rule);
    const Cost reached = cost(plan.span, plan.makespan);
    keep(std::move(plan));
    if (!rule_cost_ || reached < *rule_cost_) {
      rule_cost_ = reached;
      rule_ = rule;
    }
    return reached;
  }

  /// How far ahead the ranks are at first: a multiple of the ranks behind, what fits before the first B can
  /// come back, or as far as the limit lets them.
  std::vector<std::vector<std::int64_t>> starts() const {
    const auto ranks = static_cast<std::size_t>(shape_.ranks);
    const Time round = shape_.forward + shape_.backward_input + 2 * shape_.send;
    std::vector<std::vector<std::int64_t>> all(6, std::vector<std::int64_t>(ranks));
    for (std::size_t r = 0; r < ranks; ++r) {
      const std::int64_t behind = shape_.ranks - 1 - static_cast<std::int64_t>(r);
      const std::int64_t fit = (round.count * behind) / shape_.forward.count + 1;
      const std::int64_t ahead[] = {behind + 1, 3 * behind / 2 + 1, 2 * behind + 1, fit,
                                    fit + 1,    shape_.microbatches};
      for (std::size_t i = 0; i < all.size(); ++i) all[i][r] = ahead[i];
    }
    return all;
  }

  void turn_shares(GreedyRule rule) {
    for (const double forward : shares) {
      for (const double weight : shares) {
        if (!goes_on()) return;
        if (rule.in_turn && forward != 0) continue;  // no forward to hold back there
        rule.forward_share = forward;
        rule.weight_share = weight;
        attempt(rule);
      }
    }
  }

  /// Moves each rank one forward ahead or back and keeps what is better; whether anything was.
  bool turn_ahead() {
    const std::optional<Cost> before = rule_cost_;
    for (std::size_t r = 0; r < rule_.ahead.size(); ++r) {
      for (const std::int64_t step : {-1, 1}) {
        GreedyRule rule = rule_;
        rule.ahead[r] = std::min(rule.ahead[r], static_cast<std::int64_t>(limit_.microbatches)) + step;
        if (!goes_on()) return false;
        if (rule.ahead[r] >= 1) attempt(rule);
      }
    }
    return rule_cost_ != before;
  }

  PipelineShape shape_;
  ActivationLimit limit_;
  Objective objective_;
  Time enough_;
  std::int64_t tries_;
  Plan best_;
  std::optional<Cost> best_cost_;
  GreedyRule rule_;  // the best of those tried, whatever the best order is
  std::optional<Cost> rule_cost_;
};

/// Durations that stand in place of those of the cost model where they are not zero.
struct Given {
  Time forward, backward_input, backward_weight, send;
};

Time either(Time given, Time otherwise) { return given == Time{} ? otherwise : given; }

class ZbAuto final : public Schedule {
 public:
  ZbAuto(ActivationLimit limit, Objective objective, Given given)
      : limit_(limit), objective_(objective), given_(given) {}

  Fit fits(const PipelineShape& asked) const override {
    const PipelineShape shape = with_given(asked);
    const Time one = shape.forward + shape.backward_input + shape.backward_weight + shape.send;
    const double all = to_seconds(one) * static_cast<double>((shape.microbatches + 2) * shape.ranks);
    if (!(all < to_seconds(longest_time))) {
      return Misfit("schedule",
                    "zb_auto: passes of {} x {} microbatches x {} ranks, expected at most {} days together",
                    print(one), shape.microbatches, shape.ranks, longest_days);
    }
    const ActivationLimit limit = limit_of(shape);
    if (limit.microbatches >= 1) return {};
    return Misfit("schedule",
                  "zb_auto: limit {} on {} pipeline ranks lets a rank hold {:.2g} microbatches, expected at "
                  "least one",
                  limit_.microbatches, shape.ranks, limit.microbatches);
  }

  Order order(const PipelineShape& asked) const override {
    const PipelineShape shape = with_given(asked);
    return Search(shape, limit_of(shape), objective_).best();
  }

 private:
  /// With the durations that the scenario gives.
  PipelineShape with_given(PipelineShape shape) const {
    shape.forward = either(given_.forward, shape.forward);
    shape.backward_input = either(given_.backward_input, shape.backward_input);
    shape.backward_weight = either(given_.backward_weight, shape.backward_weight);
    shape.send = either(given_.send, shape.send);
    return shape;
  }
  /// In microbatches of this pipeline.
  ActivationLimit limit_of(const PipelineShape& shape) const {
    return {.microbatches = limit_.microbatches * static_cast<double>(shape.ranks),
            .kept_for_weight = limit_.kept_for_weight > 0 ? limit_.kept_for_weight : shape.kept_for_weight};
  }

  ActivationLimit limit_;  // in units of 1F1B's peak, which is as many microbatches as there are ranks
  Objective objective_;
  Given given_;
};

Time given_time(Reader& reader, std::string_view name, std::string_view help) {
  return reader.time({.name = name, .help = help, .fallback = Time{}});
}

std::unique_ptr<const Schedule> make(Reader& reader) {
  const ActivationLimit limit{
      .microbatches = reader.number({.name = "limit",
                                     .help = "activations that a rank may hold, in units of 1F1B's peak (1: "
                                             "the paper's ZB-1p, 2: ZB-2p)",
                                     .fallback = 1,
                                     .at_least = 0.001,
                                     .at_most = 1e6}),
      .kept_for_weight = reader.number(
          {.name = "kept_for_weight",
           .help =
               "bytes that a microbatch keeps from its B to its W over those from its F to its B (0: what "
               "the model's ops read; without a model 0.43, arXiv 2401.10241, table 1)",
           .fallback = 0,
           .at_least = 0,
           .at_most = 1000})};
  const auto objective = static_cast<Objective>(reader.choice(
      {.name = "minimize",
       .help = "span: from a rank's first pass to its last, as ranks flow into the next step; makespan: from "
               "the start of the step to its end",
       .fallback = "span"},
      objective_names));
  Given given;
  given.forward = given_time(reader, "forward", "F to fit the order to (0: what the cost model says)");
  given.backward_input =
      given_time(reader, "backward_input", "B to fit the order to (0: what the cost model says)");
  given.backward_weight =
      given_time(reader, "backward_weight", "W to fit the order to (0: what the cost model says)");
  given.send = given_time(reader, "send", "a send to fit the order to (0: what the cost model says)");
  return std::make_unique<ZbAuto>(limit, objective, given);
}

}  // namespace

extern constexpr Entry<Schedule> zb_auto_schedule{
    "zb_auto", "zero bubble within a budget of activations, an order searched for the durations at hand",
    make};

}  // namespace moesim
