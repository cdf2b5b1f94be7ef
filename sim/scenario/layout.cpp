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
  ensure(std::find(placement_.begin(), placement_.end(), Axis::pipeline) != placement_.end(),
         "the placement has a pipeline axis");
  const bool tensor = is_inside(Axis::tensor, Axis::pipeline);
  const bool data = is_inside(Axis::data, Axis::pipeline);
  inside_pipeline_ = (tensor ? sizes_.tensor : 1) * (data ? sizes_.data * sizes_.context : 1);
  if (is_inside(Axis::expert, Axis::pipeline)) inside_pipeline_ = std::max(inside_pipeline_, sizes_.expert);
}

bool Layout::is_inside(Axis inner, Axis outer) const {
  return std::find(placement_.begin(), placement_.end(), inner) <
         std::find(placement_.begin(), placement_.end(), outer);
}

DeviceId Layout::device(std::int64_t pipeline_rank, std::uint32_t position) const {
  const std::int64_t block = position / inside_pipeline_;
  const std::int64_t within = position % inside_pipeline_;
  return static_cast<DeviceId>((block * sizes_.pipeline + pipeline_rank) * inside_pipeline_ + within);
}

std::vector<Group> Layout::tensor_groups() const {
  const std::int64_t copies = sizes_.data * sizes_.context;
  return strided_groups(sizes_.stage_devices(), sizes_.tensor,
                        is_inside(Axis::tensor, Axis::data) ? 1 : copies);
}

std::vector<Group> Layout::data_groups() const {
  // Context-parallel ranks hold the same weights too.
  return strided_groups(sizes_.stage_devices(), sizes_.data * sizes_.context,
                        is_inside(Axis::tensor, Axis::data) ? sizes_.tensor : 1);
}

std::vector<Group> Layout::expert_groups() const {
  return strided_groups(sizes_.stage_devices(), sizes_.expert,
                        is_inside(Axis::expert, Axis::data) ? 1 : sizes_.expert_data());
}

std::vector<Group> Layout::expert_data_groups() const {
  return strided_groups(sizes_.stage_devices(), sizes_.expert_data(),
                        is_inside(Axis::expert, Axis::data) ? sizes_.expert : 1);
}

}  // namespace moesim
