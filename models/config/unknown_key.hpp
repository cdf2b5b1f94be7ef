// A key that nobody reads, told apart from other wrong input: no value would mend it.
#pragma once

#include "models/base/error.hpp"

namespace moesim {

/// Thrown for a key that its part does not know.
class UnknownKey final : public InputError {
 public:
  using InputError::InputError;
};

}  // namespace moesim
