// Kernels that are fused as far as anybody's are, or less where keys say so.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "models/config/reader.hpp"
#include "models/software/software.hpp"

namespace moesim {

/// All fused, and no host.
std::unique_ptr<const Software> make_fused();
/// As keys say: "permutation", "streaming_passes" and others.
std::unique_ptr<const Software> read_fused(Reader& reader);

/// A key of read_fused() that `ideal` once had, and Megatron's argument for the same.
struct FusionKey {
  std::string_view name, argument;
};
inline constexpr std::array fusion_keys{FusionKey{"permutation", "moe_permute_fusion"},
                                        FusionKey{"norm_backward", "transformer_impl"},
                                        FusionKey{"grouped_gemm", "moe_grouped_gemm"},
                                        FusionKey{"attention", "attention_backend"},
                                        FusionKey{"streaming_passes", ""},
                                        FusionKey{"update_passes", "use_precision_aware_optimizer"},
                                        FusionKey{"fused_loss", "cross_entropy_loss_fusion"},
                                        FusionKey{"placeholder_gradients", "gradient_accumulation_fusion"},
                                        FusionKey{"tensor_backward", "cuda_device_max_connections"}};

}  // namespace moesim
