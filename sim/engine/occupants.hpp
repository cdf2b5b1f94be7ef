// Who is where: for each of many places, the few slots that occupy it. Three fit in place, which is nearly
// always enough; more go to a vector that keeps its room.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace moesim {

/// Sets of slots, one a place.
class Occupants {
 public:
  explicit Occupants(std::size_t places) : places_(places), crowds_(places) {}

  std::uint32_t count(std::uint32_t place) const { return places_[place].count; }
  /// In an order that depends only on the calls of enter and leave.
  std::span<const std::uint32_t> of(std::uint32_t place) const {
    const Place& here = places_[place];
    return here.count <= few ? std::span<const std::uint32_t>(here.slots, here.count)
                             : std::span<const std::uint32_t>(crowds_[place]);
  }

  void enter(std::uint32_t place, std::uint32_t slot) {
    Place& here = places_[place];
    if (here.count < few) {
      here.slots[here.count] = slot;
    } else {
      std::vector<std::uint32_t>& crowd = crowds_[place];
      if (here.count == few) crowd.assign(here.slots, here.slots + few);
      crowd.push_back(slot);
    }
    ++here.count;
  }

  void leave(std::uint32_t place, std::uint32_t slot) {
    Place& here = places_[place];
    std::uint32_t* const slots = here.count <= few ? here.slots : crowds_[place].data();
    *std::find(slots, slots + here.count, slot) = slots[here.count - 1];
    --here.count;
    if (here.count > few) {
      crowds_[place].pop_back();
    } else if (here.count == few) {
      std::copy_n(slots, few, here.slots);
      crowds_[place].clear();
    }
  }

 private:
  static constexpr std::uint32_t few = 3;
  struct Place {
    std::uint32_t count = 0;
    std::uint32_t slots[few] = {};
  };
  std::vector<Place> places_;
  std::vector<std::vector<std::uint32_t>> crowds_;  // all slots of a place with more than a few
};

}  // namespace moesim
