// Software whose kernels are fused as far as anybody's are, and that no host holds up.
#include <fmt/format.h>

#include "models/software/fused.hpp"

namespace moesim {
namespace {

std::unique_ptr<const Software> make(Reader& reader) {
  for (const FusionKey& key : fusion_keys) {
    if (!reader.has(key.name)) continue;
    const std::string megatron =
        key.argument.empty() ? "" : fmt::format(", and megatron_core says it by '{}'", key.argument);
    reader.fail(key.name,
                fmt::format("is no key of ideal, which fuses all: software.kind 'file' has it{}", megatron));
  }
  return make_fused();
}

}  // namespace

extern constexpr Entry<Software> ideal_software{
    "ideal", "kernels fused as far as anybody's are; no host holds them up", make};

}  // namespace moesim
