// Layouts: every device has one place, groups partition them, neighbours are who they should be.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "models/base/random.hpp"
#include "sim/scenario/layout.hpp"

using namespace moesim;

namespace {

const std::vector<Axis> usual{Axis::tensor, Axis::context, Axis::expert_tensor,
                              Axis::expert, Axis::data,    Axis::pipeline};

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
  const auto divisor_of = [&](std::int64_t whole) {
    std::vector<std::int64_t> divisors;
    for (std::int64_t d = 1; d <= whole; ++d) {
      if (whole % d == 0) divisors.push_back(d);
    }
    return divisors[random.below(divisors.size())];
  };
  sizes.expert = divisor_of(sizes.stage_devices());
  sizes.expert_tensor = divisor_of(sizes.stage_devices() / sizes.expert);
  return sizes;
}

std::vector<Axis> random_placement(RandomStream& random) {
  std::vector<Axis> placement = usual;
  for (std::size_t k = placement.size(); k > 1; --k) std::swap(placement[k - 1], placement[random.below(k)]);
  return placement;
}

std::string words(const Layout& layout) {
  const Sizes& s = layout.sizes();
  std::string text =
      fmt::format("pipeline {}, tensor {}, context {}, data {}, expert {}, expert_tensor {}:", s.pipeline,
                  s.tensor, s.context, s.data, s.expert, s.expert_tensor);
  for (const Axis axis : layout.placement())
    text += fmt::format(" {}", axis_names[static_cast<std::size_t>(axis)]);
  return text;
}

/// The group of a scope that a position is in, and its place there.
std::pair<std::size_t, std::size_t> place_in(const std::vector<Group>& groups, std::uint32_t position) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto at = std::find(groups[g].begin(), groups[g].end(), position);
    if (at != groups[g].end()) return {g, static_cast<std::size_t>(at - groups[g].begin())};
  }
  FAIL("position " << position << " is in no group");
  return {};
}

/// Positions with the same place in a group of `first` and in one of `second`.
std::map<std::pair<std::size_t, std::size_t>, Group> by_places(const std::vector<Group>& first,
                                                               const std::vector<Group>& second,
                                                               std::int64_t positions) {
  std::map<std::pair<std::size_t, std::size_t>, Group> same;
  for (std::uint32_t p = 0; p < static_cast<std::uint64_t>(positions); ++p)
    same[{place_in(first, p).second, place_in(second, p).second}].push_back(p);
  return same;
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
    const Layout layout(sizes, random_placement(random));
    INFO(words(layout));
    const std::int64_t positions = sizes.stage_devices();
    check_partition(layout.tensor_groups(), positions, sizes.tensor);
    check_partition(layout.data_groups(), positions, sizes.data * sizes.context);
    check_partition(layout.context_groups(), positions, sizes.context);
    check_partition(layout.expert_groups(), positions, sizes.expert);
    check_partition(layout.expert_tensor_groups(), positions, sizes.expert_tensor);
    check_partition(layout.expert_data_groups(), positions, sizes.expert_data());
    CHECK(layout.first_context_group() == layout.context_groups().front());
    CHECK(layout.first_expert_group() == layout.expert_groups().front());
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
    CHECK(meets_once(layout.tensor_groups(), layout.context_groups()));
    CHECK(meets_once(layout.expert_groups(), layout.expert_data_groups()));
    CHECK(meets_once(layout.expert_groups(), layout.expert_tensor_groups()));
    CHECK(meets_once(layout.expert_tensor_groups(), layout.expert_data_groups()));
  }
}

TEST_CASE("Ranks with the same part of the same experts, and no others, synchronise their gradients") {
  RandomStream random = Random(14).stream("layouts");
  for (int i = 0; i < 200; ++i) {
    const Layout layout(random_sizes(random), random_placement(random));
    INFO(words(layout));
    const std::int64_t positions = layout.sizes().stage_devices();
    const auto of_experts = by_places(layout.expert_tensor_groups(), layout.expert_groups(), positions);
    CHECK(static_cast<std::int64_t>(of_experts.size()) ==
          layout.sizes().expert * layout.sizes().expert_tensor);
    std::vector<Group> groups = layout.expert_data_groups();
    for (const auto& [places, same] : of_experts) CHECK(std::count(groups.begin(), groups.end(), same) == 1);
    // Attention: the same part of each matrix, whatever the part of the sequence.
    const auto of_attention = by_places(layout.tensor_groups(), layout.tensor_groups(), positions);
    groups = layout.data_groups();
    for (const auto& [places, same] : of_attention)
      CHECK(std::count(groups.begin(), groups.end(), same) == 1);
  }
}

TEST_CASE("An order that fits keeps the groups of axes inside the pipeline on neighbouring devices") {
  RandomStream random = Random(15).stream("layouts");
  int fit = 0;
  int refused = 0;
  for (int i = 0; i < 500; ++i) {
    const Layout layout(random_sizes(random), random_placement(random));
    if (layout.sizes().pipeline == 1) continue;
    ++(layout.misfit() ? refused : fit);
    if (layout.misfit()) continue;
    INFO(words(layout));
    const std::vector<Axis>& order = layout.placement();
    const auto place = [&](Axis axis) { return std::find(order.begin(), order.end(), axis); };
    // As many devices as are between two pipeline ranks of one position.
    const std::int64_t inside = static_cast<std::int64_t>(layout.device(1, 0)) - layout.device(0, 0);
    const auto is_inside = [&](const std::vector<Group>& groups) {
      return std::all_of(groups.begin(), groups.end(),
                         [&](const Group& group) { return group.front() / inside == group.back() / inside; });
    };
    const auto is_outside = [&](const std::vector<Group>& groups) {
      return std::all_of(groups.begin(), groups.end(), [&](const Group& group) {
        return group.size() == 1 || group[1] - group[0] >= inside;
      });
    };
    const auto check = [&](Axis axis, const std::vector<Group>& groups) {
      INFO(axis_names[static_cast<std::size_t>(axis)]);
      CHECK((place(axis) < place(Axis::pipeline) ? is_inside(groups) : is_outside(groups)));
    };
    check(Axis::tensor, layout.tensor_groups());
    check(Axis::context, layout.context_groups());
    check(Axis::expert_tensor, layout.expert_tensor_groups());
    if (place(Axis::expert) < place(Axis::pipeline)) check(Axis::expert, layout.expert_groups());
  }
  CHECK(fit > 100);
  CHECK(refused > 10);
}

TEST_CASE("Attention and experts divide the same devices, each in its own way") {
  // Folding of arXiv 2504.14960: tensor 2 x context 2 x data 2 for attention, expert_tensor 1 x expert 8.
  const Layout folded({.tensor = 2, .context = 2, .data = 2, .expert = 8}, usual);
  CHECK(folded.tensor_groups().front() == Group{0, 1});
  CHECK(folded.context_groups().front() == Group{0, 2});
  CHECK(folded.data_groups().front() == Group{0, 2, 4, 6});
  CHECK(folded.expert_groups().front() == Group{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(folded.expert_data_groups().front() == Group{0});
  const Layout shared({.tensor = 4, .data = 2, .expert = 2, .expert_tensor = 2}, usual);
  CHECK(shared.tensor_groups().front() == Group{0, 1, 2, 3});
  CHECK(shared.expert_tensor_groups().front() == Group{0, 1});
  CHECK(shared.expert_groups().front() == Group{0, 2});
  CHECK(shared.expert_data_groups().front() == Group{0, 4});
}

TEST_CASE("By default tensor and expert groups are neighbouring devices, and so is a pipeline rank") {
  RandomStream random = Random(13).stream("layouts");
  for (int i = 0; i < 100; ++i) {
    const Sizes sizes = random_sizes(random);
    const Layout layout(sizes, usual);
    for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
      for (const Group& group : layout.tensor_groups())
        CHECK(are_neighbours(devices_of(layout, rank, group)));
      for (const Group& group : layout.expert_tensor_groups())
        CHECK(are_neighbours(devices_of(layout, rank, group)));
      for (const Group& group : layout.expert_groups()) {  // of one part of each expert
        const std::vector<DeviceId> devices = devices_of(layout, rank, group);
        CHECK(devices.back() - devices.front() ==
              (devices.size() - 1) * static_cast<std::uint64_t>(sizes.expert_tensor));
      }
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
