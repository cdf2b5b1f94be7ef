#include "sim/schedule/greedy.hpp"

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <queue>

#include "models/base/at.hpp"
#include "models/base/error.hpp"

namespace moesim {
namespace {

constexpr Time never{std::numeric_limits<std::int64_t>::max()};

/// One rank while the order is made. Microbatches come in their order, so counts say how far it is.
struct Worker {
  std::int64_t forwards = 0, inputs = 0, weights = 0;
  std::vector<Time> activation_at, gradient_at;  ///< when what the F or B of a microbatch needs is there
  Time first = never, free;

  Time activation() const { return next(activation_at, forwards); }
  Time gradient() const { return next(gradient_at, inputs); }

 private:
  static Time next(const std::vector<Time>& arrivals, std::int64_t index) {
    return index < static_cast<std::int64_t>(arrivals.size()) ? at(arrivals, index) : never;
  }
};

class Greedy {
 public:
  Greedy(const PipelineShape& shape, const ActivationLimit& limit, const GreedyRule& rule)
      : shape_(shape), limit_(limit), rule_(rule), workers_(static_cast<std::size_t>(shape.ranks)) {
    // The rank before could not feed one that is further ahead, which would wait for it and be waited for.
    for (std::size_t r = 1; r < rule_.ahead.size(); ++r)
      rule_.ahead[r] = std::min(rule_.ahead[r], rule_.ahead[r - 1]);
    const auto microbatches = static_cast<std::size_t>(shape.microbatches);
    plan_.order = empty_order(shape, straight_chains(shape.ranks));
    for (Worker& worker : workers_) {
      worker.activation_at.assign(microbatches, never);
      worker.gradient_at.assign(microbatches, never);
      plan_.order.ranks[rank_of(worker)].reserve(3 * microbatches);
    }
    workers_.front().activation_at.assign(microbatches, Time{});
  }

  Plan run() {
    wake(0, Time{});
    while (!moments_.empty()) {
      const auto [now, rank] = moments_.top();
      moments_.pop();
      Worker& worker = workers_[rank];
      if (worker.free > now) continue;
      if (const std::optional<Pass> pass = choose(worker, now)) start(worker, *pass, now);
    }
    for (const Worker& worker : workers_) {
      ensure(worker.weights == shape_.microbatches, "a greedy order ends");
      plan_.span = std::max(plan_.span, worker.free - worker.first);
      plan_.makespan = std::max(plan_.makespan, worker.free);
    }
    return std::move(plan_);
  }

 private:
  using Moment = std::pair<Time, std::size_t>;

  std::size_t rank_of(const Worker& worker) const {
    return static_cast<std::size_t>(&worker - workers_.data());
  }
  void wake(std::size_t rank, Time at) { moments_.emplace(at, rank); }

  std::optional<Pass> choose(const Worker& worker, Time now) const {
    const double more = std::max(0.0, limit_.kept_for_weight - 1);  // that a B takes, where it is recomputed
    const double now_held = held(worker.forwards, worker.inputs, worker.weights, limit_.kept_for_weight);
    const bool splits = now_held + more <= limit_.microbatches + 1e-9;
    const bool has_room = now_held + 1 + (rule_.room_to_split ? more : 0) <= limit_.microbatches + 1e-9;
    const bool can_free = worker.weights < worker.inputs;
    const bool due = worker.forwards < shape_.microbatches &&
                     worker.forwards - worker.inputs < rule_.ahead[rank_of(worker)] && (has_room || can_free);
    const Time gradient = worker.gradient();
    if (can_free && !splits) return Pass::backward_weight;
    if (!(rule_.in_turn && due) && gradient <= now) return splits ? Pass::backward_input : Pass::backward;
    if (due && has_room && worker.activation() <= now &&
        (rule_.in_turn || fits(shape_.forward, rule_.forward_share, now, gradient)))
      return Pass::forward;
    if (!can_free) return std::nullopt;
    const bool forced = due && !has_room && (rule_.in_turn || worker.activation() <= now);
    const Time awaited = rule_.in_turn && due ? worker.activation() : gradient;
    if (forced || fits(shape_.backward_weight, rule_.weight_share, now, awaited))
      return Pass::backward_weight;
    return std::nullopt;
  }

  /// Whether that share of the pass is done before what is awaited comes. What nobody has sent yet is far.
  static bool fits(Time duration, double share, Time now, Time awaited) {
    return awaited == never || awaited - now >= scaled(duration, share);
  }

  void start(Worker& worker, Pass pass, Time now) {
    worker.first = std::min(worker.first, now);
    worker.free = now + duration_of(pass, shape_);
    const std::int64_t microbatch = count(worker, pass)++;
    if (pass == Pass::backward) ++worker.weights;  // none is owed then
    const std::size_t rank = rank_of(worker);
    plan_.order.ranks[rank].push_back({.pass = pass, .microbatch = static_cast<std::int32_t>(microbatch)});
    wake(rank, worker.free);
    const auto index = static_cast<std::size_t>(microbatch);
    if (pass == Pass::forward && rank + 1 == workers_.size()) worker.gradient_at[index] = worker.free;
    if (pass == Pass::forward && rank + 1 < workers_.size())
      send(rank + 1, workers_[rank + 1].activation_at[index], worker.free);
    if ((pass == Pass::backward_input || pass == Pass::backward) && rank > 0)
      send(rank - 1, workers_[rank - 1].gradient_at[index], worker.free);
  }

  void send(std::size_t to, Time& arrival, Time end) {
    arrival = end + shape_.send;
    wake(to, arrival);
  }

  static std::int64_t& count(Worker& worker, Pass pass) {
    if (pass == Pass::forward) return worker.forwards;
    return pass == Pass::backward_weight ? worker.weights : worker.inputs;
  }

  const PipelineShape& shape_;
  const ActivationLimit& limit_;
  GreedyRule rule_;
  Plan plan_;
  std::vector<Worker> workers_;
  // A rank looks at its choices when it becomes free and when something arrives: earliest first, ties by
  // rank.
  std::priority_queue<Moment, std::vector<Moment>, std::greater<>> moments_;
};

}  // namespace

Plan greedy_plan(const PipelineShape& shape, const ActivationLimit& limit, const GreedyRule& rule) {
  return Greedy(shape, limit, rule).run();
}

Time duration_of(Pass pass, const PipelineShape& shape) {
  switch (pass) {
    case Pass::forward:
      return shape.forward;
    case Pass::backward:
      return shape.backward_input + shape.backward_weight;
    case Pass::backward_input:
      return shape.backward_input;
    case Pass::backward_weight:
      return shape.backward_weight;
  }
  return {};
}

double peak_activations(const std::vector<Slot>& rank, double kept_for_weight) {
  std::int64_t forwards = 0;
  std::int64_t inputs = 0;
  std::int64_t weights = 0;
  double peak = 0;
  for (const Slot& slot : rank) {
    forwards += slot.pass == Pass::forward ? 1 : 0;
    inputs += slot.pass == Pass::backward_input || slot.pass == Pass::backward ? 1 : 0;
    weights += slot.pass == Pass::backward_weight || slot.pass == Pass::backward ? 1 : 0;
    peak = std::max(peak, held(forwards, inputs, weights, kept_for_weight));
  }
  return peak;
}

}  // namespace moesim
