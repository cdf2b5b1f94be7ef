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

/// Reads "capacity_factor", "minimum_capacity" and "padded".
Capacity read_capacity(Reader& reader, double factor, std::int64_t minimum, std::string_view what);

/// Makes `loads` empty, for so many sources and experts.
void clear(const Demand& demand, Loads& loads);

}  // namespace moesim
