// How the parallel dimensions are laid over the devices of the cluster.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/cluster/fabric.hpp"

namespace moesim {

/// The dimensions that can be laid over devices.
enum class Axis : std::uint8_t { tensor, context, expert_tensor, expert, data, pipeline };
inline constexpr std::string_view axis_names[] = {"tensor", "context", "expert_tensor",
                                                  "expert", "data",    "pipeline"};

/// Sizes of the parallel dimensions. Attention divides the devices of a stage into tensor x context x data;
/// experts divide the same devices into expert_tensor x expert x expert_data (parallel folding, MoE Parallel
/// Folding, arXiv 2504.14960, section 3).
struct Sizes {
  std::int64_t pipeline = 1, tensor = 1, context = 1, data = 1, expert = 1, expert_tensor = 1;
  std::int64_t stage_devices() const { return tensor * context * data; }
  std::int64_t expert_data() const { return stage_devices() / (expert * expert_tensor); }
};

/// Members of a group, as positions 0 .. stage_devices-1 inside a stage, in rising order.
using Group = std::vector<std::uint32_t>;

/// Sizes and the order in which they are laid over the devices, innermost first. One order serves both
/// divisions: that of attention takes its tensor, context and data from it, that of experts its
/// expert_tensor, expert and data, where data is what the experts leave. `context` and `expert_tensor` may be
/// missing: they stand behind `tensor` then.
class Layout {
 public:
  Layout(const Sizes& sizes, std::vector<Axis> placement);

  const Sizes& sizes() const { return sizes_; }
  const std::vector<Axis>& placement() const { return placement_; }
  /// Why the two divisions of a stage do not fit this order, in words; nothing where they do.
  std::optional<std::string> misfit() const;
  /// Whether every rank of attention, and of experts where `experts`, has the same device in both.
  bool lays_as(const Layout& other, bool experts) const;
  /// The device at a position of a pipeline rank.
  DeviceId device(std::int64_t pipeline_rank, std::uint32_t position) const;
  /// Ranks that hold parts of the same matrices.
  std::vector<Group> tensor_groups() const;
  /// Ranks that hold parts of the same sequences, and the same part of each matrix.
  std::vector<Group> context_groups() const;
  /// Ranks that hold the same attention and router: they synchronise those gradients.
  std::vector<Group> data_groups() const;
  /// Ranks that hold parts of the same experts' matrices.
  std::vector<Group> expert_tensor_groups() const;
  /// Ranks that together hold all experts of a layer, or the same part of each: they exchange tokens.
  std::vector<Group> expert_groups() const;
  /// Ranks that hold the same experts: they synchronise those gradients.
  std::vector<Group> expert_data_groups() const;
  /// The first of context_groups() and of expert_groups().
  Group first_context_group() const;
  Group first_expert_group() const;

 private:
  /// An axis in one of the two divisions: its members are `stride` positions apart.
  struct Digit {
    Axis axis;
    std::int64_t size, stride;
    bool inside_pipeline;
    std::int64_t span() const { return size * stride; }
  };

  std::vector<Digit> digits(bool of_experts) const;
  /// Whether neighbours along `inner` lie closer than neighbours along `outer`.
  bool is_inside(Axis inner, Axis outer) const;
  bool fits(const Digit& digit) const;

  Sizes sizes_;
  std::vector<Axis> placement_;
  std::vector<Digit> attention_, experts_;  ///< innermost first
  std::int64_t inside_pipeline_ = 1;        ///< neighbouring devices that share a pipeline rank
};

}  // namespace moesim
