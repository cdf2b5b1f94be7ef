// Descriptors and operations of cuDNN's graph interface. Included where cuDNN is there.
#pragma once

#include <cudnn.h>

#include <array>
#include <memory>
#include <vector>

#include "check.hpp"
#include "shape.hpp"

namespace measure {

inline void check_cudnn(cudnnStatus_t status, const char* call,
                        std::source_location where = std::source_location::current()) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char reason[512] = {};
  cudnnGetLastErrorString(reason, sizeof reason);
  const std::string text =
      failure(call, (std::string(cudnnGetErrorString(status)) + " " + reason).c_str(), where);
  if (status >= CUDNN_STATUS_NOT_SUPPORTED && status < CUDNN_STATUS_INTERNAL_ERROR) throw NotOffered(text);
  throw DeviceError(text);
}

/// A descriptor of cuDNN's graph interface.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    check_cudnn(cudnnBackendCreateDescriptor(type, &raw_), "cudnnBackendCreateDescriptor");
  }
  Descriptor(Descriptor&& other) noexcept : raw_(other.raw_) { other.raw_ = nullptr; }
  ~Descriptor() {
    if (raw_ != nullptr) static_cast<void>(cudnnBackendDestroyDescriptor(raw_));
  }
  template <class Value>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                  const std::vector<Value>& values) {
    check_cudnn(
        cudnnBackendSetAttribute(raw_, name, type, static_cast<std::int64_t>(values.size()), values.data()),
        "cudnnBackendSetAttribute");
    return *this;
  }
  template <class Value>
  Descriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, Value value) {
    check_cudnn(cudnnBackendSetAttribute(raw_, name, type, 1, &value), "cudnnBackendSetAttribute");
    return *this;
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& other) {
    return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.raw_);
  }
  Descriptor& finish() {
    check_cudnn(cudnnBackendFinalize(raw_), "cudnnBackendFinalize");
    return *this;
  }
  cudnnBackendDescriptor_t raw() const { return raw_; }

 private:
  cudnnBackendDescriptor_t raw_ = nullptr;
};

using Four = std::array<Int, 4>;

/// A tensor of the graph; virtual ones never reach memory.
struct Tensor {
  Int id = 0;
  Four size{}, stride{};
  Descriptor descriptor;
};

inline Four packed(const Four& size) { return {size[1] * size[2] * size[3], size[2] * size[3], size[3], 1}; }

/// Builds operations; every tensor gets a number of its own.
class Graph {
 public:
  Tensor& memory(cudnnDataType_t type, const Four& size, const Four& stride) {
    return add(type, size, stride, false, false);
  }
  Tensor& scalar(cudnnDataType_t type = CUDNN_DATA_FLOAT) {
    return add(type, {1, 1, 1, 1}, {1, 1, 1, 1}, false, true);
  }
  Tensor& between(const Four& size, cudnnDataType_t type = CUDNN_DATA_FLOAT) {
    return add(type, size, packed(size), true, false);
  }
  Tensor& between(const Four& size, const Four& stride, cudnnDataType_t type) {
    return add(type, size, stride, true, false);
  }

  void multiply(const Tensor& a, const Tensor& b, const Tensor& c) {
    Descriptor how(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT).finish();
    Descriptor op(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.descriptor)
        .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.descriptor)
        .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c.descriptor)
        .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    keep(std::move(how), std::move(op));
  }
  void point(cudnnPointwiseMode_t mode, const Tensor& x, const Tensor* b, const Tensor& y,
             cudnnDataType_t compute = CUDNN_DATA_FLOAT, const Tensor* mask = nullptr, Int axis = -1) {
    Descriptor how(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    how.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, compute);
    if (axis >= 0) how.set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, axis);
    how.finish();
    Descriptor op(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor);
    if (b != nullptr) op.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b->descriptor);
    if (mask != nullptr) op.set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, mask->descriptor);
    op.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor);
    keep(std::move(how), std::move(op));
  }
  void reduce(cudnnReduceTensorOp_t mode, const Tensor& x, const Tensor& y) {
    Descriptor how(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    how.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, mode)
        .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
        .finish();
    Descriptor op(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, how)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor)
        .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.descriptor);
    keep(std::move(how), std::move(op));
  }
  void reshape(const Tensor& x, const Tensor& y) {
    Descriptor op(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    op.set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.descriptor)
        .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.descriptor)
        .finish();
    operations_.push_back(op.raw());
    kept_.push_back(std::move(op));
  }
  /// The graph, finished.
  Descriptor finish(cudnnHandle_t handle) {
    Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle)
        .set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations_)
        .finish();
    return graph;
  }

 private:
  Tensor& add(cudnnDataType_t type, const Four& size, const Four& stride, bool is_virtual, bool by_value) {
    Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    const Int id = static_cast<Int>(tensors_.size()) + 1;
    d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id)
        .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type)
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, Int{16})
        .set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, std::vector<Int>(size.begin(), size.end()))
        .set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, std::vector<Int>(stride.begin(), stride.end()));
    if (is_virtual) d.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, true);
    if (by_value) d.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, true);
    d.finish();
    tensors_.push_back(std::make_unique<Tensor>(Tensor{id, size, stride, std::move(d)}));
    return *tensors_.back();
  }
  void keep(Descriptor how, Descriptor op) {
    op.finish();
    operations_.push_back(op.raw());
    kept_.push_back(std::move(how));
    kept_.push_back(std::move(op));
  }

  std::vector<std::unique_ptr<Tensor> > tensors_;
  std::vector<Descriptor> kept_;
  std::vector<cudnnBackendDescriptor_t> operations_;
};

}  // namespace measure
