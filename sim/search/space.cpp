#include "sim/search/space.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/config/values.hpp"
#include "sim/search/choices.hpp"

namespace moesim {
namespace {

std::vector<std::int64_t> divisors(std::int64_t whole) {
  std::vector<std::int64_t> all;
  for (std::int64_t d = 1; d <= whole; ++d) {
    if (whole % d == 0) all.push_back(d);
  }
  return all;
}

std::vector<std::int64_t> powers_of_two(std::int64_t most) {
  std::vector<std::int64_t> all;
  for (std::int64_t power = 1; power <= most; power *= 2) all.push_back(power);
  return all;
}

/// Values where none are given; of a size that follows from others, none.
std::vector<std::int64_t> usual_sizes(const SizeAxis& axis, const Scenario& base) {
  if (axis.set.empty()) return {};
  if (axis.part == SizePart::batch) return powers_of_two(base.batch.sequences);
  if (axis.part == SizePart::experts && !base.model.has_experts()) return {1};
  return divisors(base.fabric().device_count());
}

std::string listed(std::string_view axis, const std::vector<std::string>& values) {
  return fmt::format("{}: {}", axis, fmt::join(values, ", "));
}

SearchBounds bounds_of(const Value& document) {
  const Value* part = document.find("search");
  if (part == nullptr) {
    const Value empty = empty_object(document.origin);
    return read_search_bounds(Reader(empty, "search"));
  }
  Value holder = empty_object(document.origin);
  holder.set("search", *part);
  Reader reader(holder, "");
  return read_search_bounds(reader.part("search", "what may be chosen"));
}

}  // namespace

const std::vector<std::int64_t>& SearchSpace::of(std::int64_t Sizes::*size) const {
  std::size_t axis = 0;
  while (size_axes[axis].size != size) ++axis;
  return sizes[axis];
}

std::uint64_t SearchSpace::candidates() const {
  std::uint64_t product = 1;
  for (std::size_t axis = 0; axis < size_axes.size(); ++axis) {
    if (!size_axes[axis].set.empty()) product *= sizes[axis].size();
  }
  for (const ChoiceAxis& axis : choice_axes()) product *= axis.count(choices);
  return product;
}

std::vector<std::string> SearchSpace::describe() const {
  std::vector<std::string> lines;
  for (std::size_t axis = 0; axis < size_axes.size(); ++axis) {
    std::vector<std::string> values;
    for (const std::int64_t size : sizes[axis]) values.push_back(fmt::format("{}", size));
    if (!values.empty()) lines.push_back(listed(size_axes[axis].key, values));
  }
  for (const ChoiceAxis& axis : choice_axes()) {
    std::vector<std::string> values;
    for (std::size_t i = 0; i < axis.count(choices); ++i) values.push_back(axis.name(choices, i));
    lines.push_back(listed(axis.key, values));
  }
  return lines;
}

SearchSpace search_space(const Value& document, const Scenario& base) {
  const SearchBounds bounds = bounds_of(document);
  SearchSpace space;
  for (std::size_t axis = 0; axis < size_axes.size(); ++axis)
    space.sizes[axis] = bounds.sizes[axis].empty() ? usual_sizes(size_axes[axis], base) : bounds.sizes[axis];
  for (const ChoiceAxis& axis : choice_axes()) axis.add({document, base, bounds}, space.choices);
  const Bytes has = base.cluster->device.memory;
  space.empty_stages = bounds.empty_stages;
  space.memory_limit = bounds.memory_limit.count > 0 ? std::min(bounds.memory_limit, has) : has;
  return space;
}

SizeProduct::SizeProduct(const SearchSpace& space, SizePart part) : space_(space) {
  for (std::size_t axis = 0; axis < size_axes.size(); ++axis) {
    if (size_axes[axis].part == part && !size_axes[axis].set.empty()) axes_.push_back(axis);
  }
}

std::uint64_t SizeProduct::count() const {
  std::uint64_t product = 1;
  for (const std::size_t axis : axes_) product *= space_.sizes[axis].size();
  return product;
}

void SizeProduct::take(std::uint64_t number, Sizes& sizes) const {
  for (auto axis = axes_.rbegin(); axis != axes_.rend(); ++axis) {
    const std::vector<std::int64_t>& values = space_.sizes[*axis];
    sizes.*size_axes[*axis].size = values[number % values.size()];
    number /= values.size();
  }
}

const PipelineProfile& Profiles::of(std::size_t schedule, std::int64_t ranks, std::int64_t microbatches) {
  const std::array<std::int64_t, 3> key{static_cast<std::int64_t>(schedule), ranks, microbatches};
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = known_.find(key); known != known_.end()) return *known->second;
  }
  auto made = std::make_unique<const PipelineProfile>(
      profile_of(*space_.choices.schedules[schedule].schedule, ranks, microbatches));
  const std::lock_guard lock(mutex_);
  return *known_.try_emplace(key, std::move(made)).first->second;
}

}  // namespace moesim
