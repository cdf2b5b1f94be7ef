// The products of several experts whose rows differ: one "grouped_gemm", in the ways that libraries offer and
// with a kernel of our own.
#pragma once

#include <array>
#include <memory>

#include "product.hpp"

namespace measure {

/// How the products of several experts are computed.
enum class GroupedMethod {
  cublas_grouped,  ///< cublasGemmGroupedBatchedEx
  loop,            ///< one kernel of cuBLASLt an expert, in one stream
  streams,         ///< the same over four streams
  own              ///< one kernel for all, on Hopper's matrix unit (grouped_kernel.hpp)
};
inline constexpr std::array<GroupedMethod, 4> grouped_methods{
    GroupedMethod::cublas_grouped, GroupedMethod::loop, GroupedMethod::streams, GroupedMethod::own};
const char* name_of(GroupedMethod method);

/// Bytes of the operands and the result of all experts, one after another.
struct GroupedBytes {
  std::size_t a = 0, b = 0, c = 0;
};
GroupedBytes grouped_bytes(const Shape& shape);

/// The products, planned.
class GroupedProduct {
 public:
  virtual ~GroupedProduct() = default;
  /// Operands of the experts begin at these addresses; `slot` names this set of pointers.
  virtual void prepare(int slot, const void* a, const void* b, void* c) = 0;
  /// Launches the products of a set that was prepared.
  virtual void run(int slot) const = 0;
};

/// Throws NotOffered where `method` does not serve the shape.
std::unique_ptr<GroupedProduct> make_grouped(const Libraries& libraries, const Shape& shape,
                                             GroupedMethod method);
/// The members of the family.
std::unique_ptr<GroupedProduct> make_library_grouped(const Libraries& libraries, const Shape& shape,
                                                     GroupedMethod method);
/// With the size of tile that should be fastest, or with one of own_grouped_tiles().
std::unique_ptr<GroupedProduct> make_own_grouped(const Libraries& libraries, const Shape& shape,
                                                 int tile = -1);
int own_grouped_tiles(const Shape& shape);

}  // namespace measure
