#include "sim/schedule/dual.hpp"

#include <array>
#include <deque>

namespace moesim {
namespace {

/// Writes the passes of one rank; counts microbatches by phase and keeps held-back weight gradients in a
/// queue.
class Writer {
 public:
  explicit Writer(const DualRank& rank) : rank_(rank) {}

  void forward(int phase) { slots_.push_back(next_forward(phase)); }
  void backward(int phase) {
    slots_.push_back(rank_.slot(Pass::backward, phase, backwards_[index(phase)]++));
  }
  void backward_input(int phase) {
    const std::int32_t microbatch = backwards_[index(phase)]++;
    slots_.push_back(rank_.slot(Pass::backward_input, phase, microbatch));
    held_.push_back(rank_.slot(Pass::backward_weight, phase, microbatch));
  }
  void weight() {
    slots_.push_back(held_.front());
    held_.pop_front();
  }
  void pair(int forward_phase, int backward_phase) {
    Slot slot = next_forward(forward_phase);
    slot.overlapped = true;
    slots_.push_back(slot);
    backward(backward_phase);
  }
  std::vector<Slot> result() { return std::move(slots_); }

 private:
  static std::size_t index(int phase) { return static_cast<std::size_t>(phase); }
  Slot next_forward(int phase) { return rank_.slot(Pass::forward, phase, forwards_[index(phase)]++); }

  const DualRank& rank_;
  std::vector<Slot> slots_;
  std::deque<Slot> held_;
  std::array<std::int32_t, 2> forwards_{};
  std::array<std::int32_t, 2> backwards_{};
};

/// Step 6: both backwards in turn; from the middle on, weight gradients are held back.
void cool_down(Writer& write, std::int64_t rank) {
  const std::int64_t turn = (rank + 1) / 2;
  bool hold = false;
  for (std::int64_t i = 0; i <= rank; ++i) {
    if (i == turn && rank % 2 == 1) hold = true;
    hold ? write.backward_input(1) : write.backward(1);
    if (i == turn && rank % 2 == 0) hold = true;
    hold ? write.backward_input(0) : write.backward(0);
  }
}

}  // namespace

std::vector<Slot> dual_order(const DualRank& rank) {
  Writer write(rank);
  const std::int64_t to_turn = rank.depth - rank.rank - 1;
  for (std::int64_t i = 0; i < 2 * to_turn; ++i) write.forward(0);
  for (std::int64_t i = 0; i <= rank.rank; ++i) {
    write.forward(0);
    write.forward(1);
  }
  for (std::int64_t i = 0; i < to_turn; ++i) {
    write.backward_input(1);
    write.weight();
    write.forward(1);
  }
  for (std::int64_t i = 0; i < rank.pairs; ++i) {
    if (i == 0 && to_turn == 0) {  // at the turning point the first forward has nothing to overlap with
      write.forward(0);
      write.backward(1);
    } else {
      write.pair(0, 1);
    }
    write.pair(1, 0);
  }
  for (std::int64_t i = 0; i < to_turn; ++i) {
    write.backward(1);
    write.pair(1, 0);
  }
  cool_down(write, rank.rank);
  for (std::int64_t i = 0; i < to_turn; ++i) {
    write.weight();
    write.backward_input(0);
  }
  for (std::int64_t i = 0; i <= rank.rank; ++i) write.weight();
  return write.result();
}

}  // namespace moesim
