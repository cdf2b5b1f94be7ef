// One matrix product with cuBLASLt, and what all products share.
#pragma once

#include "device.hpp"
#include "shape.hpp"

namespace measure {

/// What all products share: library handles and a workspace.
class Libraries {
 public:
  explicit Libraries(cudaStream_t stream);
  ~Libraries();
  Libraries(const Libraries&) = delete;
  Libraries& operator=(const Libraries&) = delete;
  cublasLtHandle_t lt() const { return lt_; }
  cublasHandle_t blas() const { return blas_; }
  cudaStream_t stream() const { return stream_; }
  int multiprocessors() const { return multiprocessors_; }
  int major() const { return major_; }  ///< of the compute capability
  /// Streams beside the first, each with a workspace of its own.
  static constexpr int side_streams = 3;
  cudaStream_t side(int i) const { return sides_[i]; }
  void* workspace(int stream) const {
    return static_cast<char*>(workspace_.get()) + stream * workspace_bytes;
  }
  static constexpr std::size_t workspace_bytes = std::size_t{32} << 20;
  cudaEvent_t fork() const { return events_[0]; }
  cudaEvent_t joined(int i) const { return events_[i + 1]; }

 private:
  cublasLtHandle_t lt_{};
  cublasHandle_t blas_{};
  cudaStream_t stream_{};
  int multiprocessors_ = 0, major_ = 0;
  cudaStream_t sides_[side_streams]{};
  cudaEvent_t events_[side_streams + 1]{};
  Buffer workspace_;
};

/// One layout of a product in cuBLAS's column-major words: D (rows x columns) = op(left) op(right).
struct ProductLayout {
  bool left_transposed, right_transposed;
  Int left_rows, left_columns, right_rows, right_columns, rows, columns;
};
ProductLayout layout_of(const Shape& shape);

/// One product of a shape "gemm", planned. Layouts are those of a linear layer: forward takes the weight as
/// (n, k), backward_input as (k, n), backward_weight adds to an fp32 (m, n) what two matrices of k rows give.
/// fp8 takes both operands with depth innermost, one scale a tensor.
class Product {
 public:
  /// Throws NotOffered where the library has no kernel.
  Product(const Libraries& libraries, const Shape& shape);
  ~Product();
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
  /// `stream` -1 is the first stream, else a side stream.
  void run(const void* a, const void* b, void* c, int stream = -1) const;
  std::size_t a_bytes() const { return a_bytes_; }
  std::size_t b_bytes() const { return b_bytes_; }
  std::size_t c_bytes() const { return c_bytes_; }

 private:
  void plan();

  const Libraries& libraries_;
  cublasLtMatmulDesc_t operation_{};
  cublasLtMatrixLayout_t left_{}, right_{}, out_{};
  cublasLtMatmulAlgo_t algorithm_{};
  float beta_ = 0;
  std::size_t a_bytes_ = 0, b_bytes_ = 0, c_bytes_ = 0;
};

}  // namespace measure
