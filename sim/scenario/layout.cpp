#include "sim/scenario/layout.hpp"

#include <algorithm>

#include "models/base/error.hpp"

namespace moesim {
namespace {

/// Groups of `size` members that are `stride` apart, over `count` positions.
std::vector<Group> strided_groups(std::int64_t count, std::int64_t size, std::int64_t stride) {
  std::vector<Group> groups;
  for (std::int64_t block = 0; block < count; block += size * stride) {
    for (std::int64_t offset = 0; offset < stride; ++offset) {
      Group group;
      for (std::int64_t i = 0; i < size; ++i)
        group.push_back(static_cast<std::uint32_t>(block + offset + i * stride));
      groups.push_back(std::move(group));
    }
  }
  return groups;
}

}  // namespace

Layout::Layout(const Sizes& sizes, std::vector<Axis> placement)
    : sizes_(sizes), placement_(std::move(placement)) {
  const auto pipeline = std::find(placement_.begin(), placement_.end(), Axis::pipeline);
  ensure(pipeline != placement_.end(), "the placement has a pipeline axis");
  const auto inside = [&](Axis axis) { return std::find(placement_.begin(), pipeline, axis) != pipeline; };
  if (inside(Axis::data)) {
    inside_pipeline_ = sizes_.stage_devices();
  } else {
    const std::int64_t dense =
        (inside(Axis::tensor) ? sizes_.tensor : 1) * (inside(Axis::context) ? sizes_.context : 1);
    inside_pipeline_ = std::max(dense, inside(Axis::expert) ? sizes_.expert : 1);
  }
}

DeviceId Layout::device(std::int64_t pipeline_rank, std::uint32_t position) const {
  const std::int64_t block = position / inside_pipeline_;
  const std::int64_t within = position % inside_pipeline_;
  return static_cast<DeviceId>((block * sizes_.pipeline + pipeline_rank) * inside_pipeline_ + within);
}

bool Layout::expert_is_inside_data() const {
  const auto expert = std::find(placement_.begin(), placement_.end(), Axis::expert);
  return std::find(expert, placement_.end(), Axis::data) != placement_.end();
}

std::vector<Group> Layout::tensor_groups() const {
  return strided_groups(sizes_.stage_devices(), sizes_.tensor, 1);
}

std::vector<Group> Layout::data_groups() const {
  // Context-parallel ranks hold the same weights too.
  return strided_groups(sizes_.stage_devices(), sizes_.data * sizes_.context, sizes_.tensor);
}

std::vector<Group> Layout::expert_groups() const {
  return strided_groups(sizes_.stage_devices(), sizes_.expert,
                        expert_is_inside_data() ? 1 : sizes_.expert_data());
}

std::vector<Group> Layout::expert_data_groups() const {
  return strided_groups(sizes_.stage_devices(), sizes_.expert_data(),
                        expert_is_inside_data() ? sizes_.expert : 1);
}

}  // namespace moesim
