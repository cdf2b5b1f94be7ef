// Containers asked by what the domain counts in: signed numbers and enumerations.
#pragma once

#include <cstddef>

namespace moesim {

/// The item at an index that is not negative, or at the place of an enumerator.
template <class Items, class Index>
constexpr decltype(auto) at(Items& items, Index index) {
  return (items[static_cast<std::size_t>(index)]);
}

}  // namespace moesim
