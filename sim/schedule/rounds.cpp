#include "sim/schedule/rounds.hpp"

#include <algorithm>

#include "models/base/at.hpp"

namespace moesim {
namespace {

/// One rank while the order is made, its passes placed one after the other.
struct Row {
  std::int64_t forwards = 0, inputs = 0, weights = 0;
  Time first, free;                              ///< start of its first pass, end of its last
  Time waited;                                   ///< between its first pass and now
  std::vector<Time> activation_at, gradient_at;  ///< when what the F or B of a microbatch needs is there

  bool owes_weight() const { return weights < inputs; }
};

class Rounds {
 public:
  Rounds(const PipelineShape& shape, const ActivationLimit& limit, const RoundsRule& rule)
      : shape_(shape), limit_(limit), rule_(rule), rows_(static_cast<std::size_t>(shape.ranks)) {
    plan_.order = empty_order(shape, straight_chains(shape.ranks));
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      rows_[r].activation_at.resize(static_cast<std::size_t>(shape.microbatches));
      rows_[r].gradient_at.resize(static_cast<std::size_t>(shape.microbatches));
      plan_.order.ranks[r].reserve(static_cast<std::size_t>(3 * shape.microbatches));
    }
  }

  Plan run() {
    warm_up();
    for (std::int64_t i = 1; i < shape_.microbatches; ++i) {
      const std::vector<bool> forward = forwards_of_round();
      for (std::size_t r = 0; r < rows_.size(); ++r)
        if (forward[r]) forward_of_round(r);
      for (std::size_t r = rows_.size(); r-- > 0;) backward_of_round(r);
    }
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      while (rows_[r].owes_weight()) place(r, Pass::backward_weight);
      plan_.span = std::max(plan_.span, rows_[r].free - rows_[r].first);
      plan_.makespan = std::max(plan_.makespan, rows_[r].free);
    }
    return std::move(plan_);
  }

 private:
  /// Forwards as many as a rank may hold and as have time before the first B is there.
  void warm_up() {
    for (std::size_t r = 0; r < rows_.size(); ++r) place(r, Pass::forward);
    const std::vector<std::int64_t> more = more_forwards();
    for (std::size_t r = 0; r < rows_.size(); ++r)
      for (std::int64_t i = 0; i < more[r]; ++i) place(r, Pass::forward);
    for (std::size_t r = rows_.size(); r-- > 0;) backward(r);
  }

  std::vector<std::int64_t> more_forwards() const {
    std::vector<std::int64_t> more(rows_.size());
    Time gradient = rows_.back().free;
    for (std::size_t r = rows_.size() - 1; r-- > 0;) {
      gradient = gradient + shape_.backward_input + shape_.send;
      Time end = rows_[r].free;
      while (more[r] + 1 < shape_.microbatches && has_room(rows_[r], static_cast<double>(more[r] + 1)) &&
             (rule_.late_forward ? end < gradient : end + shape_.forward <= gradient)) {
        end = end + shape_.forward;
        ++more[r];
      }
      gradient = std::max(gradient, end);
    }
    // A rank is at least one forward ahead of the next as long as there are forwards left.
    for (std::size_t r = 1; r < rows_.size(); ++r)
      while (more[r] > 0 && more[r] >= more[r - 1] && more[r] + 1 < shape_.microbatches) --more[r];
    return more;
  }

  /// Which ranks run a forward in the next round: one that leaves it out makes those before leave it out too.
  std::vector<bool> forwards_of_round() const {
    std::vector<bool> forward(rows_.size());
    for (std::size_t r = 0; r < rows_.size(); ++r)
      forward[r] = rows_[r].forwards < shape_.microbatches && !can_skip(r);
    for (std::size_t r = rows_.size() - 1; r-- > 0;) forward[r] = forward[r] && forward[r + 1];
    return forward;
  }

  bool can_skip(std::size_t r) const {
    if (!rule_.skip_forward || r + 1 == rows_.size()) return false;
    const Row& row = rows_[r];
    const Row& next = rows_[r + 1];
    if (row.forwards < next.forwards + 2) return false;
    const Time gradient = next.free + shape_.forward + shape_.backward_input + shape_.send;
    if (row.free >= gradient) return true;
    if (row.free + shape_.forward + time_to_make_room(row) <= gradient) return false;
    return gradient - row.free <= slack(row);
  }

  Time time_to_make_room(const Row& row) const {
    std::int64_t weights = 0;
    while (!has_room(row, 1 - limit_.kept_for_weight * static_cast<double>(weights)) &&
           row.weights + weights < row.inputs)
      ++weights;
    return shape_.backward_weight * weights;
  }

  void forward_of_round(std::size_t r) {
    Row& row = rows_[r];
    while (!has_room(row, 1)) place(r, Pass::backward_weight);
    if (r > 0) fill(r, at(row.activation_at, row.forwards));
    place(r, Pass::forward);
  }

  void backward_of_round(std::size_t r) {
    Row& row = rows_[r];
    while (row.owes_weight() && !has_room(row, kept_more())) place(r, Pass::backward_weight);
    if (r + 1 < rows_.size()) fill(r, at(row.gradient_at, row.inputs));
    if (r == 0 && row.forwards == shape_.microbatches)
      while (row.owes_weight()) place(r, Pass::backward_weight);
    backward(r);
  }

  /// B, or both gradients at once where there is no room to keep what a W of its own needs.
  void backward(std::size_t r) {
    place(r, has_room(rows_[r], kept_more()) ? Pass::backward_input : Pass::backward);
  }

  /// W's in the time until what is awaited comes. One that does not fit is begun where the wait would be the
  /// longest of all ranks.
  void fill(std::size_t r, Time awaited) {
    Row& row = rows_[r];
    while (row.owes_weight() && row.free + shape_.backward_weight <= awaited) place(r, Pass::backward_weight);
    if (!row.owes_weight() || row.free >= awaited) return;
    if (rule_.always_fill || awaited - row.free > slack(row)) place(r, Pass::backward_weight);
  }

  /// How much longer than this rank the one has waited that has waited most.
  Time slack(const Row& row) const {
    Time most;
    for (const Row& other : rows_) most = std::max(most, other.waited);
    return most - row.waited;
  }

  /// What a microbatch takes between B and W beyond what it has taken before, where that is more.
  double kept_more() const { return std::max(0.0, limit_.kept_for_weight - 1); }

  bool has_room(const Row& row, double more) const {
    return held(row.forwards, row.inputs, row.weights, limit_.kept_for_weight) + more <=
           limit_.microbatches + 1e-9;
  }

  void place(std::size_t r, Pass pass) {
    Row& row = rows_[r];
    std::int64_t& count = pass == Pass::forward           ? row.forwards
                          : pass == Pass::backward_weight ? row.weights
                                                          : row.inputs;
    Time start = row.free;
    if (pass == Pass::forward) start = std::max(start, at(row.activation_at, count));
    if (pass == Pass::backward || pass == Pass::backward_input)
      start = std::max(start, at(row.gradient_at, count));
    if (row.forwards == 0) row.first = start;
    if (row.forwards > 0) row.waited = row.waited + (start - row.free);
    row.free = start + duration_of(pass, shape_);
    hand_on(r, pass, count);
    plan_.order.ranks[r].push_back({.pass = pass, .microbatch = static_cast<std::int32_t>(count++)});
    if (pass == Pass::backward) ++row.weights;
  }

  /// To the rank that waits for it. The first rank's activations and the last one's gradients are there.
  void hand_on(std::size_t r, Pass pass, std::int64_t microbatch) {
    const Time arrival = rows_[r].free + shape_.send;
    if (pass == Pass::forward && r + 1 < rows_.size()) at(rows_[r + 1].activation_at, microbatch) = arrival;
    if ((pass == Pass::backward || pass == Pass::backward_input) && r > 0)
      at(rows_[r - 1].gradient_at, microbatch) = arrival;
  }

  const PipelineShape& shape_;
  const ActivationLimit& limit_;
  RoundsRule rule_;
  Plan plan_;
  std::vector<Row> rows_;
};

}  // namespace

Plan rounds_plan(const PipelineShape& shape, const ActivationLimit& limit, const RoundsRule& rule) {
  return Rounds(shape, limit, rule).run();
}

}  // namespace moesim
