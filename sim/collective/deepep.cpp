// DeepEP (deepseek-ai/DeepEP): V1, its kernels for training and prefilling, and V2.
#include <array>

#include "models/base/at.hpp"
#include "sim/collective/expert_kernels.hpp"

namespace moesim {
namespace {

// Fitted on the 24 rates of V1 on eight B200 with 16 to 48 multiprocessors (branch hybrid-ep,
// docs/README_Hybrid-EP.md): 1 % in the mean, 4 % at most. What a row costs there does not depend on the
// device: eight H800 and H200, and H20 over two and four nodes, follow within 10 %, but for a combine of 16
// H20. `nic_share`: rates of H800 over four and eight nodes (docs/legacy.md), within 3 %.
constexpr Time out_startup{45'000'000}, home_startup{80'000'000};
constexpr RowCopy out_copy{.each = Time{254'000}, .rate = Rate{46.7e9}};
constexpr RowCopy home_copy{.each = Time{0}, .rate = Rate{22.3e9}};
// The shortest of four get_dispatch_layout of 4,096 tokens, and of four pauses between notify_dispatch and
// dispatch, in the published profile of DeepSeek-V3's training (deepseek-ai/profile-data, train.json).
constexpr Time layout_each{74'000'000 / 4096}, host_pause{25'000'000};

constexpr ExpertLibrary v1{.name = "deepep",
                           .out = {.startup = out_startup, .to_node = out_copy, .to_rank = out_copy},
                           .home = {.startup = home_startup, .to_node = home_copy, .to_rank = home_copy},
                           .count_each = layout_each,
                           .host_pause = host_pause,
                           .nic_share = 0.95,
                           .nvlink_share = 0.95,
                           .unhidden = 0.2,
                           .multiprocessors = 20};  // Buffer.num_sms

// 50 GB/s written by a multiprocessor: get_theoretical_num_sms of deep_ep/buffers/elastic.py. Startup: least
// error over the four rates of eight B200 (README.md). It counts inside its kernels.
constexpr Time v2_startup{30'000'000};
constexpr RowCopy v2_copy{.each = Time{0}, .rate = Rate{50e9}};
constexpr ExchangeKernel v2_kernel{.startup = v2_startup, .to_node = v2_copy, .to_rank = v2_copy};
constexpr ExpertLibrary v2{.name = "deepep",
                           .out = v2_kernel,
                           .home = v2_kernel,
                           .count_each = {},
                           .host_pause = host_pause,
                           .nic_share = 0.95,
                           .nvlink_share = 0.95,
                           .unhidden = 0.2,
                           .multiprocessors = 12};  // of two nodes, in its README

constexpr std::array<std::string_view, 2> version_names{"v1", "v2"};

std::unique_ptr<const Collective> make(Reader& reader) {
  const std::size_t version =
      reader.choice({.name = "version",
                     .help = "v1, on NVSHMEM, or v2 of 2026, on NCCL, which needs fewer multiprocessors",
                     .fallback = "v1"},
                    version_names);
  return make_expert_kernels(reader, version == 0 ? v1 : v2);
}

}  // namespace

extern constexpr Entry<Collective> deepep_collective{"deepep",
                                                     "kernels of DeepEP, as fast as their multiprocessors "
                                                     "copy (all_to_all; measured on H800, H200, H20, B200)",
                                                     make};

}  // namespace moesim
