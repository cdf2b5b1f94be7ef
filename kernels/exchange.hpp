// Dispatch and combine of tokens over peer memory: a row is written to the ranks of its experts, and read
// back from them with weights.
#pragma once

#include "team.hpp"
#include "vectors.hpp"

namespace measure {

class Exchange {
 public:
  /// Every rank of the team has `tokens` rows of `hidden` elements; each goes to `top_k` places at ranks
  /// drawn at random. All ranks are in this process and map each other's memory. Sets `tokens` rows of input.
  Exchange(const Team& team, Int tokens, Int hidden, Int top_k);
  void dispatch() const;  ///< on all ranks
  void combine() const;   ///< all weights are 1 / top_k, so that what went out comes back
  const Half* input(std::size_t rank) const { return sides_[rank].in.get<Half>(); }
  const Half* output(std::size_t rank) const { return sides_[rank].back.get<Half>(); }

 private:
  struct Side {
    Buffer in, arrived, back, places;  ///< places: where each choice of each token lies
  };
  const Team& team_;
  Int tokens_, hidden_, top_k_;
  std::vector<Side> sides_;
};

/// Whether all ranks of this process map each other's memory; maps it.
bool map_all(const Team& team);

}  // namespace measure
