// The parts of the grid: shapes of known models, and shapes scattered between them.
#pragma once

#include "grid.hpp"

namespace measure {

std::vector<Shape> dense(const char* precision);
std::vector<Shape> scattered_dense(const char* precision, std::size_t count, std::uint32_t seed);
/// Rows in fp8 are multiples of 16: the libraries have no kernels for others.
std::vector<Shape> grouped(const char* precision);
std::vector<Shape> scattered_grouped(const char* precision, std::size_t count, std::uint32_t seed);
std::vector<Shape> attention();
std::vector<Shape> scattered_attention(std::size_t count, std::uint32_t seed);
std::vector<Shape> streaming();
std::vector<Shape> scattered_streaming(std::size_t count, std::uint32_t seed);

}  // namespace measure
