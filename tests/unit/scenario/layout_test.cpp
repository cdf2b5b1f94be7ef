// Layouts: every device has one place, groups partition them, neighbours are who they should be.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "models/base/random.hpp"
#include "sim/scenario/layout.hpp"

using namespace moesim;

namespace {

const std::vector<Axis> usual{Axis::tensor, Axis::context, Axis::expert, Axis::data, Axis::pipeline};

/// Every position of a stage is in exactly one group, and all groups have that size.
void check_partition(const std::vector<Group>& groups, std::int64_t positions, std::int64_t size) {
  std::set<std::uint32_t> seen;
  for (const Group& group : groups) {
    REQUIRE(static_cast<std::int64_t>(group.size()) == size);
    for (const std::uint32_t position : group) {
      REQUIRE(position < static_cast<std::uint64_t>(positions));
      REQUIRE(seen.insert(position).second);
    }
  }
  REQUIRE(static_cast<std::int64_t>(seen.size()) == positions);
}

Sizes random_sizes(RandomStream& random) {
  const auto one_of = [&](std::initializer_list<std::int64_t> choices) {
    return choices.begin()[random.below(choices.size())];
  };
  Sizes sizes{.pipeline = one_of({1, 2, 3, 4, 8}),
              .tensor = one_of({1, 2, 3, 4}),
              .context = one_of({1, 1, 2}),
              .data = one_of({1, 2, 3, 4, 6, 8}),
              .expert = 1};
  std::vector<std::int64_t> divisors;
  for (std::int64_t d = 1; d <= sizes.stage_devices(); ++d) {
    if (sizes.stage_devices() % d == 0) divisors.push_back(d);
  }
  sizes.expert = divisors[random.below(divisors.size())];
  return sizes;
}

bool are_neighbours(const std::vector<DeviceId>& devices) {
  const auto [least, most] = std::minmax_element(devices.begin(), devices.end());
  return *most - *least + 1 == devices.size();
}

std::vector<DeviceId> devices_of(const Layout& layout, std::int64_t rank, const Group& group) {
  std::vector<DeviceId> devices;
  for (const std::uint32_t position : group) devices.push_back(layout.device(rank, position));
  return devices;
}

}  // namespace

TEST_CASE("Whatever the sizes and the placement, groups partition a stage and stages partition the devices") {
  RandomStream random = Random(11).stream("layouts");
  for (int i = 0; i < 500; ++i) {
    const Sizes sizes = random_sizes(random);
    std::vector<Axis> placement = usual;
    for (std::size_t k = placement.size(); k > 1; --k)
      std::swap(placement[k - 1], placement[random.below(k)]);
    const Layout layout(sizes, placement);
    INFO("pipeline " << sizes.pipeline << ", tensor " << sizes.tensor << ", context " << sizes.context
                     << ", data " << sizes.data << ", expert " << sizes.expert);
    const std::int64_t positions = sizes.stage_devices();
    check_partition(layout.tensor_groups(), positions, sizes.tensor);
    check_partition(layout.data_groups(), positions, sizes.data * sizes.context);
    check_partition(layout.expert_groups(), positions, sizes.expert);
    check_partition(layout.expert_data_groups(), positions, sizes.expert_data());
    std::set<DeviceId> devices;
    for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
      for (std::uint32_t p = 0; p < positions; ++p) devices.insert(layout.device(rank, p));
    }
    REQUIRE(static_cast<std::int64_t>(devices.size()) == positions * sizes.pipeline);
    REQUIRE(*devices.rbegin() + 1 == devices.size());
  }
}

TEST_CASE("A tensor group and a data group share one device, and so do an expert group and its data group") {
  RandomStream random = Random(12).stream("layouts");
  for (int i = 0; i < 100; ++i) {
    const Layout layout(random_sizes(random), usual);
    const auto meets_once = [](const std::vector<Group>& rows, const std::vector<Group>& columns) {
      for (const Group& row : rows) {
        for (const Group& column : columns) {
          const auto common = std::count_if(row.begin(), row.end(), [&](std::uint32_t position) {
            return std::find(column.begin(), column.end(), position) != column.end();
          });
          if (common > 1) return false;
        }
      }
      return true;
    };
    CHECK(meets_once(layout.tensor_groups(), layout.data_groups()));
    CHECK(meets_once(layout.expert_groups(), layout.expert_data_groups()));
  }
}

TEST_CASE("By default tensor and expert groups are neighbouring devices, and so is a pipeline rank") {
  RandomStream random = Random(13).stream("layouts");
  for (int i = 0; i < 100; ++i) {
    const Sizes sizes = random_sizes(random);
    const Layout layout(sizes, usual);
    for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
      for (const Group& group : layout.tensor_groups())
        CHECK(are_neighbours(devices_of(layout, rank, group)));
      for (const Group& group : layout.expert_groups())
        CHECK(are_neighbours(devices_of(layout, rank, group)));
      Group all;
      for (std::uint32_t p = 0; p < static_cast<std::uint64_t>(sizes.stage_devices()); ++p) all.push_back(p);
      CHECK(are_neighbours(devices_of(layout, rank, all)));
    }
  }
}

TEST_CASE("With the pipeline innermost, the ranks of a pipeline are neighbouring devices") {
  const Layout layout({.pipeline = 4, .data = 8, .expert = 4},
                      {Axis::pipeline, Axis::tensor, Axis::context, Axis::expert, Axis::data});
  for (std::uint32_t position = 0; position < 8; ++position) {
    std::vector<DeviceId> pipeline;
    for (std::int64_t rank = 0; rank < 4; ++rank) pipeline.push_back(layout.device(rank, position));
    CHECK(pipeline ==
          std::vector<DeviceId>{4 * position, 4 * position + 1, 4 * position + 2, 4 * position + 3});
  }
}

TEST_CASE("With data inside experts, the ranks that hold the same experts are neighbours") {
  const Layout layout({.data = 8, .expert = 4},
                      {Axis::tensor, Axis::context, Axis::data, Axis::expert, Axis::pipeline});
  CHECK(layout.expert_data_groups().front() == Group{0, 1});
  CHECK(layout.expert_groups().front() == Group{0, 2, 4, 6});
}
