// ZB-V (Qi et al., Pipeline Parallelism with Controllable Memory, arXiv 2405.15362, and Zero Bubble, arXiv
// 2401.10241, section 6): two chunks a rank in a V, backward split, 1F1B's peak memory. Each rank ends its
// step as much later than the one before as it began it, so with F = B = W and ranks that flow into the next
// step there is no bubble.
#include <algorithm>
#include <array>

#include "models/base/at.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {
namespace {

/// Writes the passes of one rank; passes of microbatches beyond the last are left out.
class Writer {
 public:
  Writer(std::vector<Slot>& slots, std::int32_t microbatches) : slots_(slots), microbatches_(microbatches) {}

  void forward(int chunk) { write(Pass::forward, chunk, forwards_); }
  void input(int chunk) { write(Pass::backward_input, chunk, inputs_); }
  void weight(int chunk) { write(Pass::backward_weight, chunk, weights_); }
  void input_and_weight(int chunk) {
    input(chunk);
    weight(chunk);
  }
  std::int32_t forwards(int chunk) const { return at(forwards_, chunk); }
  bool owes_weight(int chunk) const { return at(weights_, chunk) < at(inputs_, chunk); }

 private:
  void write(Pass pass, int chunk, std::array<std::int32_t, 2>& counts) {
    const std::int32_t microbatch = at(counts, chunk)++;
    if (microbatch >= microbatches_) return;
    slots_.push_back({.pass = pass, .chunk = static_cast<std::int16_t>(chunk), .microbatch = microbatch});
  }

  std::vector<Slot>& slots_;
  std::int32_t microbatches_;
  std::array<std::int32_t, 2> forwards_{}, inputs_{}, weights_{};
};

void write_rank(Writer& write, std::int64_t p, std::int64_t r, std::int64_t m) {
  for (std::int64_t i = 0; i < 2 * (p - r) - 1; ++i) write.forward(0);
  for (std::int64_t i = 0; i < r; ++i) {
    write.forward(1);
    write.forward(0);
  }
  for (std::int64_t i = 0; i < p - r; ++i) {
    write.forward(1);
    write.input_and_weight(1);
  }
  while (write.forwards(1) < write.forwards(0) || write.forwards(0) < m) {
    if (write.forwards(0) < m) write.forward(0);
    write.input_and_weight(0);
    write.forward(1);
    write.input_and_weight(1);
  }
  for (std::int64_t i = 0; i < r; ++i) {
    write.input(0);
    write.input(1);
  }
  for (std::int64_t i = 0; i < p - r; ++i) write.input_and_weight(0);
  while (write.owes_weight(1)) write.weight(1);
  while (write.owes_weight(0)) write.weight(0);
}

class ZbV final : public Schedule {
 public:
  Chains chains(std::int64_t ranks) const override { return v_chains(ranks); }
  std::int64_t chunks_of_given_durations() const override { return 2; }

  Order order(const PipelineShape& shape) const override {
    Order order = empty_order(shape, chains(shape.ranks));
    order.flows_into_next_step = true;
    const std::int64_t at_least = std::max(shape.microbatches, 2 * shape.ranks - 1);
    for (std::int64_t r = 0; r < shape.ranks; ++r) {
      Writer write(at(order.ranks, r), static_cast<std::int32_t>(shape.microbatches));
      write_rank(write, shape.ranks, r, at_least);
    }
    return order;
  }
};

}  // namespace

extern constexpr Entry<Schedule> zb_v_schedule{
    "zb_v", "zero bubble over two chunks a rank in a V, at 1F1B's memory",
    [](Reader&) -> std::unique_ptr<const Schedule> { return std::make_unique<ZbV>(); }};

}  // namespace moesim
