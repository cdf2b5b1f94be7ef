// Laws of context parallelism: ranks that share a sequence have together the attention of one that has it
// whole.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/random.hpp"
#include "models/cost/roofline.hpp"
#include "models/transformer/core_kernels.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/work_times.hpp"

using namespace moesim;

namespace {

constexpr ContextExchange exchanges[] = {ContextExchange::ring, ContextExchange::all_gather};

Share shared_by(std::int64_t context, ContextExchange exchange, std::int64_t sequence) {
  return {.sequence_length = sequence, .context = context, .context_exchange = exchange};
}

/// Heads of many widths, latent attention's unequal ones too; causal or not; windows from one key to all.
AttentionShape random_core(RandomStream& random) {
  const auto below = [&](std::uint64_t bound) { return static_cast<std::int64_t>(random.below(bound)); };
  AttentionShape core{.batch = 1 + below(3),
                      .heads = 1 + below(16),
                      .kv_heads = 1 + below(4),
                      .sequence = 64 * (1 + below(64)),
                      .head_dim = 64 * (1 + below(3)),
                      .value_head_dim = 64 * (1 + below(2))};
  core.kv_sequence = core.sequence;
  core.causal = below(4) > 0;
  if (core.causal && below(2) == 0) core.window = 1 + below(static_cast<std::uint64_t>(core.sequence));
  return core;
}

std::string words(const AttentionShape& core, std::int64_t context) {
  return fmt::format("{} tokens over {}, window {}, {}", core.sequence, context, core.window,
                     core.causal ? "causal" : "not causal");
}

double flops(OpPass pass, const Share& share, const AttentionShape& core) {
  return total_flops(core_kernels(pass, share, core)).count;
}

/// Two layers of attention, one with a window, over sequences of 131,072 tokens; as many of them as there are
/// data-parallel ranks.
Scenario long_context(std::int64_t context, const char* exchange, const char* attention) {
  const std::string text = fmt::format(
      R"({{"model": {{"name": "long", "hidden": 1024, "vocabulary": 1024, "layers": 2,
            "attention": {}, "feed_forward": {{"kind": "swiglu", "width": 1024}}}},
          "software": {{"kind": "ideal"}},
          "cluster": {{"name": "eight", "device": "configs/devices/h100.json", "devices": 8,
            "topology": {{"kind": "rail_fat_tree", "levels": 2, "devices_per_node": 8,
              "nvlink_rate": "450 GB/s", "nic_rate": "50 GB/s"}}}},
          "batch": {{"sequences": {}, "sequence_length": 131072}},
          "parallelism": {{"context": {}, "context_exchange": "{}"}}}})",
      attention, 8 / context, context, exchange);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/long.json"));
}

constexpr const char* attentions[] = {
    R"({"kind": "grouped_query", "heads": 64, "kv_heads": 8, "head_dim": 128})",
    R"({"kind": "grouped_query", "heads": 64, "kv_heads": 8, "head_dim": 128, "window": 8192,
        "full_attention_every": 2})",
    R"({"kind": "grouped_query", "heads": 64, "kv_heads": 8, "head_dim": 128, "window": 65536})",
    R"({"kind": "latent", "heads": 64, "nope_head_dim": 128, "rope_head_dim": 64, "value_head_dim": 128,
        "kv_lora_rank": 512})",
};

}  // namespace

TEST_CASE("Attention work summed over context ranks does not depend on how many there are") {
  RandomStream random = Random(31).stream("context");
  for (int round = 0; round < 500; ++round) {
    const AttentionShape core = random_core(random);
    for (const OpPass pass : {OpPass::forward, OpPass::backward_input}) {
      const double whole = make_attention(pass, core, Precision::bf16).flops.count;
      for (const ContextExchange exchange : exchanges) {
        for (const std::int64_t context : {1, 2, 4, 8, 16, 32}) {
          INFO(words(core, context));
          const double each = flops(pass, shared_by(context, exchange, core.sequence), core);
          REQUIRE(static_cast<double>(context) * each == Approx(whole).epsilon(1e-12));
        }
      }
    }
  }
}

TEST_CASE("Of a ring the own block is causal, and every other one is half of its square") {
  const AttentionShape core{.sequence = 4096, .kv_sequence = 4096, .head_dim = 128, .value_head_dim = 128};
  const std::vector<Op> ring = core_kernels(OpPass::forward, shared_by(4, ContextExchange::ring, 4096), core);
  REQUIRE(ring.size() == 4);
  CHECK((ring[0].causal && ring[0].sequence == 1024 && ring[0].kv_sequence == 1024));
  CHECK((!ring[1].causal && ring[1].sequence == 1024 && ring[1].kv_sequence == 512));
  CHECK((!ring[3].causal && ring[3].sequence == 512 && ring[3].kv_sequence == 1024));
  for (const Op& block : ring) CHECK(block.flops.count == ring[0].flops.count);
}

TEST_CASE("With all keys gathered each of two chunks attends to what is before it") {
  const AttentionShape core{.sequence = 4096, .kv_sequence = 4096, .head_dim = 128, .value_head_dim = 128};
  const std::vector<Op> chunks =
      core_kernels(OpPass::forward, shared_by(4, ContextExchange::all_gather, 4096), core);
  REQUIRE(chunks.size() == 2);
  CHECK((chunks[0].causal && chunks[0].sequence == 512 && chunks[0].kv_sequence == 3 * 512));
  CHECK((chunks[1].causal && chunks[1].sequence == 512 && chunks[1].kv_sequence == 6 * 512));
  // What is after them is not read.
  CHECK(chunks[0].bytes.count == 512 * (256 * 2 + 4) + 3 * 512 * 256 * 2);
}

// Kernels of a part end with a wave of tiles that is not full, and tiles have a start-up each: up to 5 %.
TEST_CASE("A sequence shared by more ranks takes each of them less by as much, in both exchanges") {
  for (const char* attention : attentions) {
    for (const char* exchange : {"ring", "all_gather"}) {
      const WorkTimes whole(long_context(1, exchange, attention));
      for (const std::int64_t context : {2, 4, 8}) {
        const WorkTimes part(long_context(context, exchange, attention));
        INFO(attention << ", " << exchange << " over " << context);
        for (const OpPass pass : {OpPass::forward, OpPass::backward_input}) {
          for (const std::int64_t layer : {0, 1}) {
            const double times =
                whole.layer(layer).attention.in(pass).time / part.layer(layer).attention.in(pass).time;
            CHECK(times == Approx(static_cast<double>(context)).epsilon(0.05));
          }
        }
      }
    }
  }
}

TEST_CASE("A step over context ranks computes as long as one over data-parallel ranks") {
  for (const char* exchange : {"ring", "all_gather"}) {
    const Report whole = simulate(long_context(1, exchange, attentions[0])).report;
    for (const std::int64_t context : {2, 8}) {
      const Report part = simulate(long_context(context, exchange, attentions[0])).report;
      CHECK(static_cast<double>(context) * to_seconds(part.breakdown.compute) ==
            Approx(to_seconds(whole.breakdown.compute)).epsilon(0.05));
    }
  }
}

TEST_CASE("Blocks of a ring take together what the core takes, with a window too") {
  for (const char* attention : attentions) {
    const WorkTimes times(long_context(8, "ring", attention));
    for (const std::vector<Piece>& pieces : times.layer(0).pieces) {
      for (const Piece& piece : pieces) {
        if (!piece.is_core()) continue;
        REQUIRE(piece.blocks.size() == 8);
        Time sum;
        for (const Timed& block : piece.blocks) sum += block.time;
        CHECK(sum == piece.timed.time);
      }
    }
  }
}
