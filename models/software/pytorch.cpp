#include "models/software/pytorch.hpp"

#include <algorithm>
#include <cmath>

namespace moesim::pytorch {

double token_elements(const Op& op) {
  return static_cast<double>(op.m) * static_cast<double>(op.n) /
         static_cast<double>(std::max<std::int64_t>(1, op.top_k));
}

double chosen_from(std::int64_t slices, std::int64_t width) {
  return static_cast<double>(slices) * static_cast<double>(std::max<std::int64_t>(32, width));
}

std::int64_t parts_of(double elements, double widest_bytes) {
  constexpr double most = 2'147'483'647;
  std::int64_t parts = 1;
  while ((elements / static_cast<double>(parts) - 1) * widest_bytes + 1 > most) parts *= 2;
  return parts;
}

Kernels& Kernels::split(const Access& access, double elements, double bytes_each, double widest_bytes,
                        KernelClass kernel_class) {
  const std::int64_t parts = parts_of(elements, widest_bytes);
  for (std::int64_t part = 0; part < parts; ++part)
    add(access, elements / static_cast<double>(parts), bytes_each, kernel_class).by_calls(part == 0 ? 1 : 0);
  return *this;
}

Kernels& Kernels::add(const Access& access, double elements, double bytes_each, KernelClass kernel_class) {
  if (elements <= 0) return *this;
  Op kernel;
  kernel.kind = OpKind::elementwise;
  kernel.name = op_.name;
  kernel.pass = op_.pass;
  kernel.part = op_.part;
  kernel.module = op_.module;
  kernel.kernel_class = kernel_class;
  kernel.m = std::llround(elements);
  kernel.n = 1;
  kernel.bytes = from_bytes(elements * bytes_each);
  kernel.access = access;
  kernels_.push_back(kernel);
  return *this;
}

Kernels& Kernels::tiny(std::int64_t count, KernelClass kernel_class, std::int64_t start_ns) {
  if (count <= 0) return *this;
  add(kind::few(start_ns), 1, 4, kernel_class);
  kernels_.back().kernels = count;
  return *this;
}

void add_embedding_gradient(const Op& op, double bytes, Kernels& k) {
  /// Tokens whose gradients one kernel adds to an embedding (aten/src/ATen/native/cuda/Embedding.cu).
  constexpr std::int64_t most_unsorted_tokens = 3072;
  const double all = static_cast<double>(op.k) * static_cast<double>(op.n);
  k.add(bytes > 2 ? kind::fill_fp32 : kind::fill, all, bytes);
  if (op.m > most_unsorted_tokens) k.tiny(28, KernelClass::gather_scatter, 1'700).by_calls(1);
  k.add(kind::embedding_gradient, k.elements(), 6, KernelClass::gather_scatter);
}

}  // namespace moesim::pytorch
