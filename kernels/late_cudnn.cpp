// The functions of cuDNN that are used here, passed on to the library that the machine has: the program is
// built with cuDNN's headers alone.
#include <cstdint>

#include <cudnn.h>

#include "late.hpp"
#include "library.hpp"

namespace measure {
namespace {

const Library& cudnn() {
  static const Library library("libcudnn.so.9");
  return library;
}

}  // namespace

std::string why_no_cudnn() { return cudnn().problem(); }

}  // namespace measure

using measure::cudnn;

std::size_t cudnnGetVersion() { return cudnn().get<decltype(cudnnGetVersion)>("cudnnGetVersion")(); }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return cudnn().get<decltype(cudnnGetErrorString)>("cudnnGetErrorString")(status);
}
void cudnnGetLastErrorString(char* text, std::size_t size) {
  cudnn().get<decltype(cudnnGetLastErrorString)>("cudnnGetLastErrorString")(text, size);
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  return cudnn().get<decltype(cudnnCreate)>("cudnnCreate")(handle);
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  return cudnn().get<decltype(cudnnDestroy)>("cudnnDestroy")(handle);
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  return cudnn().get<decltype(cudnnSetStream)>("cudnnSetStream")(handle, stream);
}
cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* descriptor) {
  return cudnn().get<decltype(cudnnBackendCreateDescriptor)>("cudnnBackendCreateDescriptor")(type,
                                                                                             descriptor);
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  return cudnn().get<decltype(cudnnBackendDestroyDescriptor)>("cudnnBackendDestroyDescriptor")(descriptor);
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  return cudnn().get<decltype(cudnnBackendFinalize)>("cudnnBackendFinalize")(descriptor);
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count,
                                       const void* values) {
  return cudnn().get<decltype(cudnnBackendSetAttribute)>("cudnnBackendSetAttribute")(descriptor, name, type,
                                                                                     count, values);
}
cudnnStatus_t cudnnBackendGetAttribute(const cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                       std::int64_t asked, std::int64_t* count, void* values) {
  return cudnn().get<decltype(cudnnBackendGetAttribute)>("cudnnBackendGetAttribute")(descriptor, name, type,
                                                                                     asked, count, values);
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  return cudnn().get<decltype(cudnnBackendExecute)>("cudnnBackendExecute")(handle, plan, pack);
}
