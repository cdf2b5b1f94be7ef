// Over which numbers of a narrow format a scale is shared, and what scales take.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "models/base/precision.hpp"

namespace moesim {

/// Megatron-Core's `--fp8-recipe`.
enum class Fp8Recipe : std::uint8_t {
  delayed,     ///< a tensor, from the largest elements of tensors before (arXiv 2209.05433)
  tensorwise,  ///< a tensor, from its own largest element
  blockwise,   ///< 1 x 128 of activations, 128 x 128 of weights, in fp32 (DeepSeek-V3, arXiv
               ///< 2412.19437, 3.3.2)
  mxfp8        ///< 32 in a row, in e8m0 (OCP Microscaling Formats 1.0; arXiv 2310.10537)
};
inline constexpr std::array<std::string_view, 4> fp8_recipe_names{"delayed", "tensorwise", "blockwise",
                                                                  "mxfp8"};

/// Numbers in a row that share a scale of fp32 in DeepSeek's blocks, and of one byte in MXFP8 and NVFP4.
inline constexpr double block_of_fp32_scale = 128, block_of_mxfp8 = 32, block_of_nvfp4 = 16;

/// Bytes of scales for each number of an activation or gradient, along one axis; one scale of a whole tensor
/// is none.
constexpr double scale_bytes(Fp8Recipe recipe) {
  switch (recipe) {
    case Fp8Recipe::blockwise:
      return 4 / block_of_fp32_scale;
    case Fp8Recipe::mxfp8:
      return 1 / block_of_mxfp8;
    default:
      return 0;
  }
}
/// The same of a weight. Those of NVFP4's blocks of 16 x 16 are laid out once for each 16 in a row
/// (transformer_engine/common/cast/nvfp4).
constexpr double weight_scale_bytes(Fp8Recipe recipe) {
  return recipe == Fp8Recipe::blockwise ? scale_bytes(recipe) / block_of_fp32_scale : scale_bytes(recipe);
}

/// Bytes of one element of an operand of NVFP4 (arXiv 2509.25149, section 2), beside one fp32 scale of its
/// tensor.
inline constexpr double nvfp4_bytes = bytes_each(Precision::fp4) + 1 / block_of_nvfp4;

}  // namespace moesim
