// Kernels that PyTorch launches for what is no product, each by its law.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "models/transformer/access_laws.hpp"
#include "models/transformer/op.hpp"

namespace moesim::pytorch {

/// The kernels of one pass of an update.
void update(const Op& op, std::vector<Op>& kernels);
/// Elements that topk goes over: slices whose rows are few take it as long as wider ones.
double chosen_from(std::int64_t slices, std::int64_t width);
/// Elements of the tokens that an op's rows are of.
double token_elements(const Op& op);

/// Kernels that torch cuts one into, so that 32 bits count the bytes of its widest operand
/// (aten/src/ATen/TensorIterator.cpp: can_use_32bit_indexing).
std::int64_t parts_of(double elements, double widest_bytes);

/// Of a launch over lists of tensors: 320 chunks of 65,536 (aten/src/ATen/native/cuda/MultiTensorApply.cuh).
inline constexpr std::int64_t most_elements_of_lists = std::int64_t{320} * 65'536;

/// Of cuBLAS on Hopper: 32 MiB for each handle, that of the thread which runs forward and that of autograd's
/// (aten/src/ATen/cuda/CublasHandlePool.cpp).
inline constexpr Bytes workspaces{std::int64_t{64} << 20};

/// Kernels that stand for one op.
class Kernels {
 public:
  Kernels(const Op& op, std::vector<Op>& kernels)
      : op_(op), elements_(static_cast<double>(op.m) * static_cast<double>(op.n)), kernels_(kernels) {}

  double elements() const { return elements_; }
  /// The same op's kernels over so many rows and columns of it.
  Kernels over(std::int64_t rows, std::int64_t columns) const {
    Kernels part = *this;
    part.elements_ = static_cast<double>(rows) * static_cast<double>(columns);
    return part;
  }
  /// A kernel over `elements` that moves so many bytes for each of them.
  Kernels& add(const Access& access, double elements, double bytes_each,
               KernelClass kernel_class = KernelClass::streaming);
  /// The same in as many parts as torch cuts it into.
  Kernels& split(const Access& access, double elements, double bytes_each, double widest_bytes,
                 KernelClass kernel_class = KernelClass::streaming);
  /// Over all elements of the op.
  Kernels& all(const Access& access, double bytes_each) { return add(access, elements_, bytes_each); }
  /// So many kernels that have next to nothing to do, or that take so long whatever they do.
  Kernels& tiny(std::int64_t count, KernelClass kernel_class = KernelClass::streaming,
                std::int64_t start_ns = 0);
  /// The host reads a number that what was added last has made: its wait counts, the copy does not.
  Kernels& read() { return waits(1); }
  /// The host launches what was added last with so many calls.
  Kernels& by_calls(std::int64_t count) {
    kernels_.back().calls = count;
    return *this;
  }
  /// Beside its launches, the host takes so many calls more for what was added last.
  Kernels& more_calls(std::int64_t count) {
    Op& last = kernels_.back();
    last.calls = (last.calls < 0 ? last.kernels : last.calls) + count;
    return *this;
  }
  /// What was added last is so many kernels, which share its elements.
  Kernels& launches(std::int64_t count) {
    kernels_.back().kernels = count;
    return *this;
  }
  /// What was added last is a product with so many FLOPs.
  Kernels& of(Flops flops) {
    kernels_.back().flops = flops;
    return *this;
  }
  /// A kernel that is an op itself.
  Kernels& op(Op kernel) {
    kernel.part = op_.part;
    kernels_.push_back(std::move(kernel));
    return *this;
  }
  /// The host waits for what was added last when it has come to the exchange behind its block.
  Kernels& read_in_call() {
    kernels_.back().waits_in_call = true;
    return waits(1);
  }
  /// The host waits so many times for what was added last.
  Kernels& waits(std::int64_t count) {
    kernels_.back().waits += count;
    return *this;
  }

 private:
  const Op& op_;
  double elements_;
  std::vector<Op>& kernels_;
};

/// The gradient of an embedding in elements of so many bytes: all of it set to zero, tokens sorted, their
/// rows added up.
void add_embedding_gradient(const Op& op, double bytes, Kernels& kernels);

/// The kernels of copies around gradients and parameters on their way (DDP, FSDP2).
void add_copies(const Op& op, std::vector<Op>& kernels);

}  // namespace moesim::pytorch
