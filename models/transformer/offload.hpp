// What of a layer's activations is in the host's memory from its forward to its backward: whole layers, or
// the inputs of modules as Megatron-Core names them (--offload-modules, core/transformer/
// transformer_config.py: offload_modules).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "models/base/at.hpp"

namespace moesim {

/// Modules whose inputs, with all that they keep for backward, leave the device.
enum class OffloadModule : std::uint8_t {
  attn_norm,   ///< the norm before attention
  qkv_linear,  ///< projections to queries, keys and values, with norms of latents
  core_attn,   ///< queries, keys and values, log-sum-exp
  attn_proj,   ///< the output projection
  mlp_norm,    ///< the norm before the feed-forward
  expert_fc1,  ///< the first product of routed experts
  moe_act      ///< their activation
};
inline constexpr std::array<std::string_view, 7> offload_module_names{
    "attn_norm", "qkv_linear", "core_attn", "attn_proj", "mlp_norm", "expert_fc1", "moe_act"};

struct Offload {
  std::array<bool, offload_module_names.size()> modules{};
  std::int64_t layers = 0;          ///< of the model, the first ones: all that they keep
  std::int64_t least_elements = 0;  ///< of a tensor of a module; smaller ones stay

  bool takes(OffloadModule module) const { return at(modules, module); }
  bool takes_whole(std::size_t layer) const { return static_cast<std::int64_t>(layer) < layers; }
  bool has_modules() const { return std::find(modules.begin(), modules.end(), true) != modules.end(); }
  bool is_none() const { return layers == 0 && !has_modules(); }
};

}  // namespace moesim
