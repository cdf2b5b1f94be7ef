// Fused attention of cuDNN, through its graph interface. Without cuDNN (late.hpp) nothing is offered.
#pragma once

#include <memory>

#include "device.hpp"
#include "shape.hpp"

namespace measure {

/// The tensors of an attention. Queries, outputs and their gradients are (batch, sequence, heads, size), keys
/// and values with their own number of heads; `statistics` is the log-sum-exp of each row, in fp32.
struct AttentionTensors {
  void *q = nullptr, *k = nullptr, *v = nullptr, *o = nullptr, *statistics = nullptr;
  void *dq = nullptr, *dk = nullptr, *dv = nullptr, *d_o = nullptr;  ///< backward alone
};

/// Handle of the library.
class AttentionLibrary {
 public:
  explicit AttentionLibrary(cudaStream_t stream);
  ~AttentionLibrary();
  AttentionLibrary(const AttentionLibrary&) = delete;
  AttentionLibrary& operator=(const AttentionLibrary&) = delete;
  static long version();  ///< 0 without cuDNN

 private:
  friend class Attention;
  void* handle_ = nullptr;
  cudaStream_t stream_;
};

/// One direction of an attention, planned.
class Attention {
 public:
  /// Throws NotOffered where the library has no kernel for the shape.
  Attention(const AttentionLibrary& library, const Shape& shape);
  ~Attention();
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;
  void run(const AttentionTensors& tensors) const;

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace measure
