// Errors of CUDA and its libraries, named by call, file and line.
#pragma once

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <source_location>
#include <stdexcept>
#include <string>

namespace measure {

/// A call of CUDA or of one of its libraries failed.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Device memory ran out: smaller sizes may still fit.
class OutOfMemory : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

/// A library does not offer what was asked for: that measurement is left out.
class NotOffered : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

/// "call: reason (file:line)".
inline std::string failure(const char* call, const char* reason, const std::source_location& where) {
  return std::string(call) + ": " + reason + " (" + where.file_name() + ":" + std::to_string(where.line()) +
         ")";
}

inline void check(cudaError_t status, const char* call,
                  std::source_location where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  const std::string text = failure(call, cudaGetErrorString(status), where);
  if (status == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    throw OutOfMemory(text);
  }
  throw DeviceError(text);
}

inline void check(cublasStatus_t status, const char* call,
                  std::source_location where = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string text = failure(call, cublasGetStatusString(status), where);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) throw NotOffered(text);
  throw DeviceError(text);
}

/// After a kernel launch.
inline void check_launch(const char* kernel, std::source_location where = std::source_location::current()) {
  check(cudaGetLastError(), kernel, where);
}

}  // namespace measure
