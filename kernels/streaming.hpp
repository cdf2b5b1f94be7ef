// One of the ops that only stream memory, with operands of its own for each call.
#pragma once

#include <functional>

#include "device.hpp"
#include "shape.hpp"

namespace measure {

/// Where the operands lie. Inputs and weights are random; calls rotate through inputs and outputs.
struct StreamingMemory {
  const Buffer &inputs, &weights, &outputs;
  std::size_t cache;  ///< bytes of the last-level cache
  cudaStream_t stream;
};

class Streaming {
 public:
  /// Throws OutOfMemory where the operands of one call are larger than the memory for them.
  Streaming(const Shape& shape, const StreamingMemory& memory);
  Streaming(const Streaming&) = delete;
  Streaming& operator=(const Streaming&) = delete;
  /// Launches call number `call`.
  void run(int call) const { call_(call); }

 private:
  using Call = std::function<void(int)>;
  struct Operands;
  Operands operands(std::initializer_list<std::size_t> reads,
                    std::initializer_list<std::size_t> writes) const;
  Call norm();
  Call activation() const;
  Call routing() const;
  Call permutation(bool apart);
  Call cast() const;
  Call embedding() const;
  Call sum() const;

  StreamingMemory memory_;
  Int rows_, width_, experts_, top_k_;
  bool forward_;
  std::size_t bytes_;  ///< of a matrix of rows, or of logits
  Buffer extra_;       ///< what all calls share: the weight's gradient, or the places of rows
  Call call_;
};

}  // namespace measure
