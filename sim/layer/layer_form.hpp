// What decides the programs of a layer: what of it is divided, sent and computed again.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/scenario/scenario.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {

/// Blocks of keys and values in a ring that take as long beside as many sends.
struct RingRow {
  std::int16_t first_block = 0, blocks = 0, sends = 0;
  friend bool operator==(const RingRow&, const RingRow&) = default;
};

/// A piece of a block that is cut.
struct FormPiece {
  bool is_core = false;                       ///< an attention core of context parallelism
  bool backward = false;                      ///< of a core: it sends gradients of keys and values home
  std::vector<RingRow> ring{};                ///< of a core in a ring
  TensorCall tensor_call = TensorCall::none;  ///< beside so many parts of a product
  std::int16_t parts = 0;
  friend bool operator==(const FormPiece&, const FormPiece&) = default;
};

/// Layers of one form have the same programs.
struct LayerForm {
  bool exchanges = false;             ///< tokens go to experts on other ranks
  bool gathers_tokens = false;        ///< and all of them to every rank of a group
  bool divides_experts = false;       ///< the matrices of each expert are shared (expert-tensor parallelism)
  bool divides_layers = false;        ///< those of attention, embedding and head are (tensor parallelism)
  bool divides_feed_forward = false;  ///< and those of a dense feed-forward or of shared experts
  bool divides_tokens = false;        ///< between blocks each of these ranks has tokens of its own
  bool divides_sequences = false;     ///< context parallelism
  bool overlaps_tensor = false;       ///< a backward computes while a tensor-parallel group communicates
  bool gathers_again = false;         ///< and inputs that it gathered are gathered once more in backward
  bool again = false;                 ///< the whole layer is computed again in backward
  bool feed_forward_again = false;    ///< its dense feed-forward or shared experts are, whole
  bool experts_again = false;         ///< its experts are
  bool results_again = false;         ///< and their results come home again
  bool shared_beside = false;         ///< its shared experts are computed beside an exchange
  bool weights_in_turn = false;       ///< in a pair, too, a backward goes on behind gradients of weights
  bool offloads_attention = false;    ///< something that its attention block keeps goes to the host
  bool offloads_feed_forward = false;
  bool norm_first = false;  ///< what comes back for its attention block is needed by its feed-forward
  std::int64_t heads = 1;   ///< the model's, and one for each prediction layer
  std::array<std::vector<FormPiece>, 3> pieces{};  ///< of attention by OpPass, where it is cut
  std::array<std::vector<FormPiece>, 3> feed_forward_pieces{};
  friend bool operator==(const LayerForm&, const LayerForm&) = default;
};

/// Of a layer that is divided and timed so. The embedding and the head have the form of any layer.
LayerForm form_of(const Scenario& scenario, std::size_t layer, const BlockPieces& attention,
                  const BlockPieces& feed_forward);

}  // namespace moesim
