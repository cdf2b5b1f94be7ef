// HybridEP (branch hybrid-ep of deepseek-ai/DeepEP): one thread block reads a token once for each node and
// stores it to all ranks there with bulk copies (TMA).
#include "sim/collective/expert_kernels.hpp"

namespace moesim {
namespace {

// Fitted on 51 rates of kernels alone on eight B200, 8 to 36 GB200 in one NVLink domain and 16 to 64 H100
// (docs/README_Hybrid-EP.md), which are all but fp8 on more than 16 GB200 and 16 H100 with 16
// multiprocessors: 4.6 % in the mean. Dispatch and combine differ by less than that.
constexpr RowCopy to_node{.each = Time{453'000}, .rate = Rate{31.4e9}};
constexpr RowCopy to_rank{.each = Time{0}, .rate = Rate{167e9}};
// What calls through PyTorch take beyond kernels and the copy out of the buffer, which is part of the
// permutation: 92 us on B200 and GB200, whatever the precision and the multiprocessors (the same tables).
constexpr Time startup{92'000'000};
constexpr ExchangeKernel kernel{
    .startup = startup, .to_node = to_node, .to_rank = to_rank, .enters_own_node = true};
constexpr ExpertLibrary library{.name = "hybrid_ep",
                                .out = kernel,
                                .home = kernel,
                                .count_each = {},
                                .host_pause = Time{25'000'000},  // as DeepEP's
                                .nic_share = 0.90,
                                .nvlink_share = 0.915,
                                .unhidden = 0.12,
                                .multiprocessors = 16,  // with which all tables were measured
                                .buffers = ExchangeBuffers::whole};

std::unique_ptr<const Collective> make(Reader& reader) { return make_expert_kernels(reader, library); }

}  // namespace

extern constexpr Entry<Collective> hybrid_ep_collective{
    "hybrid_ep",
    "kernels of HybridEP, as fast as their multiprocessors copy (all_to_all; measured on H100, B200, GB200)",
    make};

}  // namespace moesim
