// How many rows an expert takes from a group of tokens before it drops the rest.
#pragma once

#include <cstdint>

#include "models/config/reader.hpp"
#include "models/routing/loads.hpp"

namespace moesim {

/// The size of experts' buffers, as Mesh TensorFlow computes it for Switch Transformers and top-2 gating
/// (mesh_tensorflow/transformer/moe.py): tokens x factor / experts without what is behind the point, at most
/// all tokens, and at least `minimum`.
struct Capacity {
  double factor = 1;
  std::int64_t minimum = 1;
  bool padded = true;  ///< buffers are sent and computed whole, as static shapes need it

  /// Rows of one expert from a group of so many tokens with `choices` each.
  std::int64_t rows(const Gate& gate, std::int64_t tokens, std::int64_t choices) const;
};

/// Tokens of a source are divided into groups as even as can be, each with buffers of its own (Mesh
/// TensorFlow: _split_into_groups).
struct TokenGroups {
  std::int64_t most = 0;  ///< tokens of one; 0: all of a source

  std::int64_t count(std::int64_t tokens) const;
  /// Tokens of the largest, which decides how large buffers are.
  std::int64_t largest(std::int64_t tokens) const;
};

/// Reads "group".
TokenGroups read_token_groups(Reader& reader);

/// Reads "capacity_factor", "minimum_capacity" and "padded".
Capacity read_capacity(Reader& reader, double factor, std::int64_t minimum, std::string_view what);

/// Makes `loads` empty, for so many sources and experts.
void clear(const Demand& demand, Loads& loads);

}  // namespace moesim
