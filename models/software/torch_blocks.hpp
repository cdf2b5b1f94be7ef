// Blocks of a transformer as users write them in PyTorch without a library of models: fused RMSNorm
// (torch.nn.functional.rms_norm), rotary embedding by complex numbers in fp32, scaled_dot_product_attention,
// torch._grouped_mm for experts between a sort and a scatter_add. The code of pytorch/torchtitan is of this
// kind (models/llama3/model/model.py, models/moe.py), run as it is or compiled block by block. Kernels and
// laws are those of profiles of such blocks on one H200 (configs/validation/software-h200.json, "compiled";
// tools/software/compiled.py), in kernels' own times.
#pragma once

#include <memory>
#include <vector>

#include "models/software/software.hpp"

namespace moesim::pytorch {

/// What is left to who writes such blocks.
struct BlockChoices {
  bool repeats_keys = true;  ///< keys and values are copied for each head that shares them
};

inline const Key<bool> repeats_keys_key{
    .name = "repeat_keys",
    .help =
        "keys and values are copied for each head that shares them (repeat_kv), or sdpa is told that "
        "heads share them",
    .fallback = true};

/// Appends the kernels of eager blocks; what they have in common with models of a library is `library`'s.
void add_eager_block_kernels(const Op& op, const BlockChoices& choices, const Software& library,
                             std::vector<Op>& kernels);
double kept_by_eager_blocks(const Op& op, const BlockChoices& choices, const Software& library);

/// The same of compiled blocks: Inductor's kernels for what lies between products.
void add_compiled_block_kernels(const Op& op, const BlockChoices& choices, const Software& library,
                                std::vector<Op>& kernels);
double kept_by_compiled_blocks(const Op& op, const BlockChoices& choices, const Software& library);

/// Of an attention: bytes that repeated keys and values hold more than those that heads share.
double kept_by_repeats(const Op& op, const BlockChoices& choices);

/// Whether a rotary embedding turns all that it moves. Latent attention's turns a part, and lays out keys and
/// values.
bool is_plain_rotary(const Op& op);

/// The attention with keys and values for every head, where they are repeated.
Op core_of(const Op& op, const BlockChoices& choices);

/// torch.argsort of int64, stable: so many numbers in eight passes of a radix sort, which take as long for 2
/// thousand as for 60 thousand.
void add_argsort(const Op& op, double numbers, std::vector<Op>& kernels);

/// A member of the family that runs such blocks has what all share from Hugging Face's models.
std::unique_ptr<const Software> library_of_models();

}  // namespace moesim::pytorch
