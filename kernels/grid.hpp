// Which shapes are measured.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shape.hpp"

namespace measure {

/// Shapes that belong together, in the order in which they are measured.
struct Section {
  std::string name;
  std::vector<Shape> shapes;
};

/// The grid: shapes of known models at round and at odd numbers of rows, and shapes scattered between them.
std::vector<Section> grid();
/// Shapes drawn apart from the grid, from the same ranges, to judge a fit by.
std::vector<Section> held_out();
/// Every so many-th shape, for a quick look.
std::vector<Section> thinned(const std::vector<Section>& sections, std::size_t step);

/// What is measured beside communication: products, grouped products, attention, what streams.
std::vector<Shape> contention_shapes(bool quick);
/// On how many multiprocessors own kernels communicate meanwhile.
std::vector<int> contention_counts(bool quick);

}  // namespace measure
