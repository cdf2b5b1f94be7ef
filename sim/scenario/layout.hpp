// How the parallel dimensions are laid over the devices of the cluster.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/cluster/fabric.hpp"

namespace moesim {

/// The dimensions that can be laid over devices.
enum class Axis : std::uint8_t { tensor, context, expert, data, pipeline };
inline constexpr std::string_view axis_names[] = {"tensor", "context", "expert", "data", "pipeline"};

/// Sizes of the parallel dimensions. Attention divides the devices of a stage into tensor x context x data;
/// experts divide the same devices into expert x expert_data.
struct Sizes {
  std::int64_t pipeline = 1, tensor = 1, context = 1, data = 1, expert = 1;
  std::int64_t stage_devices() const { return tensor * context * data; }
  std::int64_t expert_data() const { return stage_devices() / expert; }
};

/// Members of a group, as positions 0 .. stage_devices-1 inside a stage.
using Group = std::vector<std::uint32_t>;

/// Sizes and the order in which they are laid over the devices, innermost first.
class Layout {
 public:
  Layout(const Sizes& sizes, std::vector<Axis> placement);

  const Sizes& sizes() const { return sizes_; }
  const std::vector<Axis>& placement() const { return placement_; }
  /// The device at a position of a pipeline rank.
  DeviceId device(std::int64_t pipeline_rank, std::uint32_t position) const;
  /// Ranks that hold parts of the same matrices.
  std::vector<Group> tensor_groups() const;
  /// Ranks that hold the same attention and router: they synchronise those gradients.
  std::vector<Group> data_groups() const;
  /// Ranks that together hold all experts of a layer: they exchange tokens.
  std::vector<Group> expert_groups() const;
  /// Ranks that hold the same experts: they synchronise those gradients.
  std::vector<Group> expert_data_groups() const;

 private:
  /// Whether neighbours along `inner` lie closer than neighbours along `outer`.
  bool is_inside(Axis inner, Axis outer) const;

  Sizes sizes_;
  std::vector<Axis> placement_;
  std::int64_t inside_pipeline_ = 1;  ///< neighbouring devices that share a pipeline rank
};

}  // namespace moesim
