// Draws experts one by one, with chances as popular as they are, in constant time: Walker's alias method (ACM
// TOMS 3(3), 1977) with tables as Vose builds them (IEEE TSE 17(9), 1991).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "models/base/random.hpp"

namespace moesim {

/// A source of experts. The popularity is not copied.
class ExpertDraw {
 public:
  explicit ExpertDraw(std::span<const double> popularity);
  /// Any expert.
  std::size_t first(RandomStream& random) const;
  /// Any expert but `taken`, the others as popular among themselves as before. There are at least two.
  std::size_t second(std::size_t taken, RandomStream& random) const;

 private:
  std::span<const double> popularity_;
  std::vector<double> own_;         ///< chance that a cell answers its own expert
  std::vector<std::size_t> other_;  ///< the one that it answers else
};

}  // namespace moesim
