// What a pass does in one layer, or at an end of the model, on one rank: a list of acts. It is made once for
// each shape, and lowering (tasks), the estimate (times), memory (lifetimes) and `moesim schedule --layer`
// read it. A program knows no times, ranks or microbatches; its sizes are those of what it is read for.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "models/base/at.hpp"
#include "models/transformer/op.hpp"
#include "sim/collective/collective.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/layer/layer_form.hpp"
#include "sim/schedule/order.hpp"

namespace moesim {

enum class ActKind : std::uint8_t {
  compute,   ///< a block of the layer, or a piece of one
  call,      ///< a communication of the rank's group
  join,      ///< two lanes have both come so far
  needs,     ///< parameters of the layer, the embedding or the head
  produces,  ///< weight gradients of a block
  leaves,    ///< what a block keeps begins to go to the host
  returns,   ///< it has come back
  lets_go,   ///< the block has done with it, and what is needed next begins to come
};

/// The parts of a pass through a layer that an overlapped pair weaves. Acts of one part follow each other.
enum class Segment : std::uint8_t {
  attention,
  dispatch,
  feed_forward,
  feed_forward_weight,
  combine,
  attention_weight
};
inline constexpr std::size_t segment_count = 6;

/// Acts of one lane follow each other; lanes run beside each other. What a pass does after its layer is
/// behind its main lane alone.
using Lane = std::uint8_t;
inline constexpr Lane main_lane = 0, no_lane = 4;
inline constexpr std::size_t lane_count = 4;

struct Act {
  ActKind kind = ActKind::compute;
  Segment segment = Segment::attention;
  /// Of a call the kind of communication, else the block: attention, feed_forward, embedding or head.
  Activity activity = Activity::none;
  OpPass pass = OpPass::forward;
  Operation operation = Operation::all_to_all;  ///< of a call
  /// The act is behind what these lanes have come to, and then stands for its own lane.
  Lane behind = main_lane, also_behind = no_lane, lane = main_lane;
  /// Of a block that is cut (LayerForm::pieces), or of a feed-forward whose shared experts go beside an
  /// exchange; -1: whole.
  std::int16_t piece = -1;
  /// In a ring: the first of `blocks` blocks of keys and values, each with so many sends beside it. A call
  /// has the sends of all of these blocks. Of a product in so many parts: the first of `blocks` parts, and of
  /// a call what these parts gave.
  std::int16_t first_block = 0, blocks = 0, sends = 0, parts = 0;
};

/// The pieces of such a feed-forward.
inline constexpr std::int16_t shared_experts_piece = -2, other_experts_piece = -3;

/// A block whose bytes a program begins or ceases to keep, or an end of the model, and in which segment: with
/// the first act of the block in a forward, with the last in a pass that lets them go. That is when caching
/// allocators allocate and release, whatever the times.
struct KeptBlock {
  Segment segment = Segment::attention;
  Activity block = Activity::none;
  std::uint16_t act = 0;  ///< with which, into acts
  bool again = false;  ///< a backward computes the block again: until its end it is held as after a forward
};

/// In which the acts of each segment are together.
struct Program {
  std::vector<Act> acts;
  std::array<std::uint16_t, segment_count> begin{}, end{};  ///< of each segment, into acts
  std::vector<KeptBlock> kept;                              ///< in the order in which they are issued

  /// The acts of a segment, or all of them.
  std::span<const Act> of(std::optional<Segment> segment) const {
    if (!segment) return acts;
    const auto s = static_cast<std::size_t>(*segment);
    return std::span(acts).subspan(begin[s], end[s] - begin[s]);
  }
};

/// The programs of a layer, the embedding or the head.
struct Programs {
  std::array<Program, 4> alone;           ///< by Pass, of a pass that has the rank to itself
  Program woven_forward, woven_backward;  ///< of an overlapped pair

  const Program& of(Pass pass) const { return at(alone, pass); }
  const Program& of_pair(bool is_backward) const { return is_backward ? woven_backward : woven_forward; }
};

Programs programs_of_layer(const LayerForm& form);
/// Of what comes before the first layer.
Programs programs_of_embedding(const LayerForm& form);
/// Of what comes after the last: the model's head, and with each prediction layer one more and an embedding
/// of its own.
Programs programs_of_head(const LayerForm& form);

/// Of what a stage before or after sent in parts: the whole is gathered before the pass.
inline Act gather_of_sends(Pass pass) {
  return {.kind = ActKind::call,
          .activity = Activity::tensor,
          .pass = pass == Pass::forward ? OpPass::forward : OpPass::backward_input,
          .operation = Operation::all_gather};
}

/// A segment of one of the two programs of an overlapped pair.
struct Woven {
  bool is_backward;
  Segment segment;
};

/// A forward beside a full backward, layer by layer as figure 4 of the DeepSeek-V3 report (arXiv 2412.19437)
/// and its published trace have it: compute in the order attention F, experts B and W, experts F, attention
/// B, attention W; communication in the order combine B, dispatch F, dispatch B, combine F. A host issues
/// them as Megatron-Core does (models/common/model_chunk_schedule_plan.py: TransformerLayerSchedulePlan.run).
inline constexpr std::array<Woven, 10> pair_weave{{{true, Segment::combine},
                                                   {false, Segment::attention},
                                                   {true, Segment::feed_forward},
                                                   {false, Segment::dispatch},
                                                   {true, Segment::feed_forward_weight},
                                                   {true, Segment::dispatch},
                                                   {false, Segment::feed_forward},
                                                   {false, Segment::combine},
                                                   {true, Segment::attention},
                                                   {true, Segment::attention_weight}}};

}  // namespace moesim
