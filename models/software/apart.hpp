// Products that fused software makes one of, each by itself.
#pragma once

#include <vector>

#include "models/transformer/op.hpp"

namespace moesim {

/// Of a fused product or grouped product (Op::columns) one for each of its parts; else the op itself.
std::vector<Op> products_apart(const Op& op);

}  // namespace moesim
