// The order of passes on each pipeline rank. An order knows no times, no peers and no communication.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moesim {

/// A pass of one microbatch through one chunk of layers.
enum class Pass : std::uint8_t {
  forward,          ///< F
  backward,         ///< both gradients at once
  backward_input,   ///< B: the input gradient, which the previous stage waits for
  backward_weight,  ///< W: the weight gradient, which nobody waits for
};
inline constexpr std::string_view pass_letters[] = {"F", "BW", "B", "W"};
/// Whether a pass computes weight gradients.
constexpr bool has_weights(Pass pass) { return pass == Pass::backward || pass == Pass::backward_weight; }

/// One entry of a rank's order.
struct Slot {
  Pass pass = Pass::forward;
  bool overlapped =
      false;  ///< shares the device with the slot after it: a forward with the backward that follows
  std::int16_t chunk = 0;  ///< of the rank
  std::int32_t microbatch = 0;

  friend bool operator==(const Slot&, const Slot&) = default;
};

/// A stage of the model: where it lives.
struct Place {
  std::int32_t rank = 0;
  std::int16_t chunk = 0;

  friend bool operator==(const Place&, const Place&) = default;
};

/// The stages of the model in the order of the forward pass. Most schedules have one chain; bidirectional
/// ones have two, and hold each stage of the model twice.
using Chains = std::vector<std::vector<Place>>;

/// The passes of all ranks, and the ways that microbatches take through them.
struct Order {
  Chains chains;
  std::vector<std::uint8_t> chain_of_microbatch;
  std::vector<std::vector<Slot>> ranks;
  /// Ranks may begin the next step while others still end this one, so a stage's span starts at its own first
  /// pass. The optimizer must not wait for all ranks then: it updates with what it knows of the global norm
  /// and validates afterwards (arXiv 2401.10241, section 4).
  bool flows_into_next_step = false;

  std::int64_t microbatches() const { return static_cast<std::int64_t>(chain_of_microbatch.size()); }
  /// Stages that the model is cut into.
  std::int64_t model_stages() const { return static_cast<std::int64_t>(chains.front().size()); }
};

/// Throws std::logic_error naming the first flaw: every (microbatch, chunk of its chain) must have one F, and
/// either one BW or one B and then one W, with F first; overlapped slots are a forward and a backward.
void check(const Order& order);

/// Model chunks that a rank holds, at most.
std::int64_t chunks_of(const Chains& chains);

/// Whether the model's last stage stands on a rank that holds no first one.
bool is_head_apart(const Chains& chains);

/// The most microbatch-chunks that a rank holds activations of at once: an F adds one, the BW or W that ends
/// its backward takes one away.
std::int64_t peak_in_flight(const std::vector<Slot>& rank);

}  // namespace moesim
