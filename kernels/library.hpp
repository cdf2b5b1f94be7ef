// Libraries that are looked for when the program runs, so that it starts where they are absent.
#pragma once

#include <dlfcn.h>

#include <string>

#include "check.hpp"

namespace measure {

/// A shared library, where it can be loaded. It stays until the program ends: what it started may outlive
/// whoever asked for it.
class Library {
 public:
  /// Looked for as the system's loader looks for `file`.
  explicit Library(const char* file, int mode = RTLD_NOW) : handle_(dlopen(file, mode)) {
    if (handle_ == nullptr) problem_ = dlerror();
  }
  const std::string& problem() const { return problem_; }  ///< empty where it was loaded
  /// Null where there is no library or it has no such function.
  template <class Function>
  Function* find(const char* name) const {
    return handle_ == nullptr ? nullptr : reinterpret_cast<Function*>(dlsym(handle_, name));
  }
  /// The same of one that must be there. Throws DeviceError.
  template <class Function>
  Function& get(const char* name) const {
    Function* const found = find<Function>(name);
    if (found == nullptr) throw DeviceError(std::string(name) + ": " + (handle_ ? dlerror() : problem_));
    return *found;
  }

 private:
  void* handle_;
  std::string problem_;
};

}  // namespace measure
