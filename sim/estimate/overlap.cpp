// A forward beside a full backward, played through task by task: the part of a search's estimate that is no
// closed formula.
#include <algorithm>
#include <array>
#include <cmath>

#include "sim/estimate/estimate.hpp"

namespace moesim {
namespace {

/// Two queues, compute and communication, each in order. A task is behind the one before it in its queue and
/// behind one more, its input.
class TwoQueues {
 public:
  TwoQueues(double contended, double slowed) : slowdown_{contended, slowed} {}

  /// Adds a task of that queue behind task `input` (none: -1); answers its number, or `input` for no time.
  int add(int queue, double seconds, int input, bool is_slowed = true) {
    if (seconds <= 0) return input;
    tasks_[count_] = {queue, input, seconds, is_slowed};
    return static_cast<int>(count_++);
  }
  bool is_full() const { return count_ + 24 > tasks_.size(); }

  double run() {
    std::array<std::size_t, 2> head{next(0, 0), next(1, 0)};
    double now = 0;
    while (head[0] < count_ || head[1] < count_) {
      const std::array<bool, 2> runs{can_run(head[0]), can_run(head[1])};
      std::array<double, 2> pace{1, 1};
      if (runs[0] && runs[1]) pace = {slowdown_[0], tasks_[head[1]].is_slowed ? slowdown_[1] : 1};
      double step = -1;
      for (std::size_t q = 0; q < 2; ++q) {
        if (runs[q] && (step < 0 || tasks_[head[q]].left * pace[q] < step))
          step = tasks_[head[q]].left * pace[q];
      }
      now += step;
      for (std::size_t q = 0; q < 2; ++q) {
        if (!runs[q]) continue;
        Task& task = tasks_[head[q]];
        task.left -= step / pace[q];
        if (task.left > 1e-15) continue;
        task.done = true;
        head[q] = next(static_cast<int>(q), head[q] + 1);
      }
    }
    return now;
  }

 private:
  struct Task {
    int queue = 0, input = -1;
    double left = 0;
    bool is_slowed = true, done = false;
  };

  std::size_t next(int queue, std::size_t from) const {
    while (from < count_ && tasks_[from].queue != queue) ++from;
    return from;
  }
  bool can_run(std::size_t task) const {
    if (task >= count_) return false;
    return tasks_[task].input < 0 || tasks_[static_cast<std::size_t>(tasks_[task].input)].done;
  }

  std::array<Task, 160> tasks_;
  std::size_t count_ = 0;
  std::array<double, 2> slowdown_;
};

/// Layer by layer as PassLowering::forward_overlapped_with has them.
double pair_of(const LayerCost& one, std::int64_t layers, double contended, double slowed_by_compute,
               double beside) {
  constexpr int compute = 0;
  constexpr int sent = 1;
  TwoQueues queues(contended, slowed_by_compute);
  int forward = -1;
  int backward = -1;
  const auto go = [&](int& pass, int queue, double seconds, bool is_slowed = true) {
    pass = queues.add(queue, seconds, pass, is_slowed);
  };
  const auto attention = [&](int& pass, double context, double seconds) {
    const int came = queues.add(sent, context, pass, false);
    queues.add(compute, context > 0 ? beside * seconds : 0, pass);
    pass = queues.add(compute, context > 0 ? (1 - beside) * seconds : seconds, came);
  };
  for (std::int64_t i = 0; i < layers && !queues.is_full(); ++i) {
    go(backward, sent, one.again);
    go(backward, sent, one.dispatch);  // the gradient of the combine
    go(forward, sent, one.before_attention, false);
    attention(forward, one.context_forward, one.attention_forward);
    go(forward, sent, one.after_attention, false);
    go(backward, sent, one.before_experts, false);
    go(backward, compute, one.backward_input - one.attention_input);
    go(backward, sent, one.after_experts, false);
    queues.add(compute, one.backward_weight - one.attention_weight, backward);
    go(forward, sent, one.dispatch);
    go(backward, sent, one.combine);  // the gradient of the dispatch
    go(forward, sent, one.before_experts, false);
    go(forward, compute, one.forward - one.attention_forward);
    go(forward, sent, one.after_experts, false);
    go(backward, sent, one.before_attention, false);
    attention(backward, one.context_backward, one.attention_input);
    go(backward, sent, one.after_attention, false);
    go(forward, sent, one.combine);
    queues.add(compute, one.attention_weight, backward);
  }
  return queues.run();
}

}  // namespace

double overlapped_seconds(const LayerCost& pair, double layers, double slowed_by_compute, double beside) {
  const double compute = pair.forward + pair.backward_input + pair.backward_weight;
  if (compute <= 0) return pair.forward_sent + pair.backward_sent;
  constexpr std::int64_t most = 3;  // layers beyond that repeat
  const auto count = std::clamp<std::int64_t>(std::llround(layers), 1, most);
  LayerCost one = pair;
  one *= 1 / std::max(1.0, layers);
  const double contended = pair.contended / compute;
  const double first = pair_of(one, count, contended, slowed_by_compute, beside);
  if (layers <= static_cast<double>(most)) return first * std::max(1.0, layers) / static_cast<double>(count);
  const double before = pair_of(one, count - 1, contended, slowed_by_compute, beside);
  return first + (first - before) * (layers - static_cast<double>(most));
}

}  // namespace moesim
