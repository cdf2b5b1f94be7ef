#include "sim/scenario/layout.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/at.hpp"
#include "models/base/error.hpp"

namespace moesim {
namespace {

bool names(const std::vector<Axis>& placement, Axis axis) {
  return std::find(placement.begin(), placement.end(), axis) != placement.end();
}

/// Puts an axis that is missing behind `tensor`.
void complete(std::vector<Axis>& placement, Axis axis) {
  if (names(placement, axis)) return;
  const auto tensor = std::find(placement.begin(), placement.end(), Axis::tensor);
  placement.insert(tensor == placement.end() ? placement.begin() : tensor + 1, axis);
}

/// Positions that differ in the coordinates of `axes` only.
std::vector<Group> groups_over(const auto& digits, std::int64_t positions, std::initializer_list<Axis> axes) {
  std::int64_t size = 1;
  for (const auto& digit : digits)
    size *= std::find(axes.begin(), axes.end(), digit.axis) == axes.end() ? 1 : digit.size;
  std::vector<Group> groups;
  groups.reserve(static_cast<std::size_t>(positions / size));
  std::vector<std::size_t> group_of(static_cast<std::size_t>(positions));
  for (std::int64_t position = 0; position < positions; ++position) {
    std::int64_t first = position;
    for (const auto& digit : digits) {
      if (std::find(axes.begin(), axes.end(), digit.axis) == axes.end()) continue;
      first -= position / digit.stride % digit.size * digit.stride;
    }
    if (first == position) {
      at(group_of, position) = groups.size();
      groups.emplace_back().reserve(static_cast<std::size_t>(size));
    }
    groups[at(group_of, first)].push_back(static_cast<std::uint32_t>(position));
  }
  return groups;
}

/// The first of these.
Group first_over(const auto& digits, Axis axis) {
  Group group;
  for (const auto& digit : digits) {
    if (digit.axis != axis) continue;
    for (std::int64_t i = 0; i < digit.size; ++i)
      group.push_back(static_cast<std::uint32_t>(i * digit.stride));
  }
  return group.empty() ? Group{0} : group;
}

}  // namespace

Layout::Layout(const Sizes& sizes, std::vector<Axis> placement)
    : sizes_(sizes), placement_(std::move(placement)) {
  ensure(names(placement_, Axis::pipeline), "the placement has a pipeline axis");
  complete(placement_, Axis::expert_tensor);
  complete(placement_, Axis::context);
  attention_ = digits(false);
  experts_ = digits(true);
  const auto product = [](const std::vector<Digit>& digits) {
    std::int64_t inside = 1;
    for (const Digit& digit : digits) inside *= digit.inside_pipeline ? digit.size : 1;
    return inside;
  };
  inside_pipeline_ = std::max(product(attention_), product(experts_));
}

std::vector<Layout::Digit> Layout::digits(bool of_experts) const {
  const bool divided = sizes_.expert * sizes_.expert_tensor > 1;
  std::vector<Digit> digits;
  std::int64_t stride = 1;
  for (const Axis axis : placement_) {
    std::int64_t size = 0;
    bool inside = is_inside(axis, Axis::pipeline);
    if (axis == Axis::data) {
      size = of_experts ? sizes_.expert_data() : sizes_.data;
      // Where experts are divided, data is what they leave; where not, they do not decide.
      inside = inside && (of_experts == divided);
    } else if (of_experts) {
      size = axis == Axis::expert ? sizes_.expert : axis == Axis::expert_tensor ? sizes_.expert_tensor : 0;
    } else {
      size = axis == Axis::tensor ? sizes_.tensor : axis == Axis::context ? sizes_.context : 0;
    }
    if (size == 0) continue;  // pipeline, or of the other division
    digits.push_back({axis, size, stride, inside});
    stride *= size;
  }
  return digits;
}

bool Layout::is_inside(Axis inner, Axis outer) const {
  return std::find(placement_.begin(), placement_.end(), inner) <
         std::find(placement_.begin(), placement_.end(), outer);
}

/// A group lies in one block of devices of its pipeline rank, or has one member in each, or as many in each.
/// Only data and experts, which share devices with the axes of the other division, may be the last.
bool Layout::fits(const Digit& digit) const {
  if (digit.size == 1) return true;
  const bool within = inside_pipeline_ % digit.span() == 0;
  const bool across = digit.stride % inside_pipeline_ == 0;
  const bool evenly = inside_pipeline_ % digit.stride == 0 && digit.span() % inside_pipeline_ == 0;
  if (digit.axis == Axis::data) return within || across || evenly;
  if (digit.inside_pipeline) return within;
  return across || (digit.axis == Axis::expert && evenly && !within);
}

std::optional<std::string> Layout::misfit() const {
  if (sizes_.pipeline == 1) return std::nullopt;  // no axis lies between others
  for (const std::vector<Digit>* division : {&attention_, &experts_}) {
    for (const Digit& digit : *division) {
      if (fits(digit)) continue;
      return fmt::format(
          "puts {} neighbouring devices inside the pipeline, but the {} {} ranks, {} apart, do not lie {} "
          "them "
          "in equal parts",
          inside_pipeline_, digit.size, at(axis_names, digit.axis), digit.stride,
          digit.inside_pipeline ? "inside" : "across");
    }
  }
  return std::nullopt;
}

bool Layout::lays_as(const Layout& other, bool experts) const {
  const auto divide_alike = [](const std::vector<Digit>& a, const std::vector<Digit>& b) {
    const auto has_other = [&](const Digit& digit) {  // an axis of one rank lies anywhere
      return digit.size > 1 && std::none_of(b.begin(), b.end(), [&](const Digit& same) {
               return same.axis == digit.axis && same.size == digit.size && same.stride == digit.stride;
             });
    };
    return std::none_of(a.begin(), a.end(), has_other);
  };
  const Sizes& o = other.sizes_;
  const bool same_sizes = sizes_.pipeline == o.pipeline && sizes_.tensor == o.tensor &&
                          sizes_.context == o.context && sizes_.data == o.data && sizes_.expert == o.expert &&
                          sizes_.expert_tensor == o.expert_tensor;
  return same_sizes && (sizes_.pipeline == 1 || inside_pipeline_ == other.inside_pipeline_) &&
         divide_alike(attention_, other.attention_) && (!experts || divide_alike(experts_, other.experts_));
}

DeviceId Layout::device(std::int64_t pipeline_rank, std::uint32_t position) const {
  const std::int64_t block = position / inside_pipeline_;
  const std::int64_t within = position % inside_pipeline_;
  return static_cast<DeviceId>((block * sizes_.pipeline + pipeline_rank) * inside_pipeline_ + within);
}

std::vector<Group> Layout::tensor_groups() const {
  return groups_over(attention_, sizes_.stage_devices(), {Axis::tensor});
}

std::vector<Group> Layout::context_groups() const {
  return groups_over(attention_, sizes_.stage_devices(), {Axis::context});
}

Group Layout::first_context_group() const { return first_over(attention_, Axis::context); }

Group Layout::first_expert_group() const { return first_over(experts_, Axis::expert); }

std::vector<Group> Layout::data_groups() const {
  // Context-parallel ranks hold the same weights too.
  return groups_over(attention_, sizes_.stage_devices(), {Axis::context, Axis::data});
}

std::vector<Group> Layout::expert_tensor_groups() const {
  return groups_over(experts_, sizes_.stage_devices(), {Axis::expert_tensor});
}

std::vector<Group> Layout::expert_groups() const {
  return groups_over(experts_, sizes_.stage_devices(), {Axis::expert});
}

std::vector<Group> Layout::expert_data_groups() const {
  return groups_over(experts_, sizes_.stage_devices(), {Axis::data});
}

}  // namespace moesim
