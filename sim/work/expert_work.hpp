// The work of a rank in a layer's feed-forward block, by the rows of its experts.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sim/scenario/scenario.hpp"
#include "sim/work/expert_loads.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {

/// Works of ranks, each made once. Ranks with the same rows in any order of their experts have the same work;
/// ranks with as many rows differ in nothing but the products of their experts.
class ExpertWorks {
 public:
  explicit ExpertWorks(const Scenario& scenario) : scenario_(scenario) {}

  /// The number of a work among those made so far: `rows` of the local experts, `sent` rows that the rank
  /// sends out, in a layer of that shape (the number of its first layer).
  std::uint32_t number_of(std::size_t shape, std::vector<std::int64_t> rows, std::int64_t sent);
  std::vector<ExpertWork> take() && { return std::move(works_); }

 private:
  /// All but the products of experts, by pass.
  struct Common {
    std::array<OpSum, 3> passes;
    Bytes activations, for_weight, offloaded;
  };
  /// A product of experts in one of the passes.
  struct Product {
    std::size_t pass;
    Op op;
  };
  struct Hash {
    std::size_t operator()(std::span<const std::int64_t> words) const;
  };
  struct Shape {
    std::unordered_map<std::vector<std::int64_t>, std::uint32_t, Hash> known;  // by rows and rows sent
    std::unordered_map<std::array<std::int64_t, 2>, Common, Hash> common;  // by rows of all, and rows sent
    std::vector<Product> products;                                         // of a rank with rows, whichever
  };

  const Common& common_of(Shape& shape, std::size_t layer, std::span<const std::int64_t> rows,
                          std::int64_t sent);
  ExpertWork make(Shape& shape, std::size_t layer, std::span<const std::int64_t> rows, std::int64_t sent);

  const Scenario& scenario_;
  std::unordered_map<std::size_t, Shape> shapes_;
  std::vector<ExpertWork> works_;
};

}  // namespace moesim
