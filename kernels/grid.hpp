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

/// What is measured while multiprocessors are held.
std::vector<Shape> contention_shapes();

}  // namespace measure
