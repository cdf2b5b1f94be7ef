// NCCL's collectives on all ranks of a team, for those who run them beside something else.
#pragma once

#include <memory>
#include <string>

#include "team.hpp"

namespace measure {

class Collectives {
 public:
  /// `blocks`: of its kernels, one a multiprocessor; 0: as many as the library takes. Throws NotOffered
  /// without NCCL.
  Collectives(const Team& team, int blocks);
  ~Collectives();
  Collectives(const Collectives&) = delete;
  Collectives& operator=(const Collectives&) = delete;
  /// Launches all_to_all, all_reduce, all_gather or reduce_scatter on every rank of this process, in the
  /// streams of the team, over whole buffers of so many bytes.
  void run(const std::string& name, std::size_t bytes) const;

 private:
  struct Kept;
  std::unique_ptr<Kept> kept_;
};

}  // namespace measure
