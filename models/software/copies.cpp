// What DDP and FSDP2 launch around their collectives (torch 2.11).
#include <algorithm>

#include "models/base/whole.hpp"
#include "models/software/pytorch.hpp"

namespace moesim::pytorch {
namespace {

class Copies {
 public:
  Copies(const Op& op, std::vector<Op>& kernels)
      : op_(op),
        kernels_(kernels),
        elements_(static_cast<double>(op.m)),
        each_(static_cast<double>(op.bytes.count) / std::max(1.0, elements_)) {}

  /// A kernel for each tensor.
  void one_by_one(const Access& access) { add(access, each_, std::max<std::int64_t>(1, op_.kernels)); }
  void in_one(const Access& access) { add(access, each_, 1); }
  /// Beyond a copy of two bytes to two: first a cast, which writes them.
  void by_multi_tensor() {
    constexpr double copied = 4;
    const auto launches = (op_.m + most_elements_of_lists - 1) / most_elements_of_lists;
    if (each_ > copied) add(kind::multi_tensor, each_ - copied, launches);
    add(kind::multi_tensor, copied, launches);
  }

 private:
  void add(const Access& access, double bytes_each, std::int64_t launches) {
    Kernels(op_, kernels_).add(access, elements_, bytes_each);
    kernels_.back().kernels = launches;
  }

  const Op& op_;
  std::vector<Op>& kernels_;
  double elements_, each_;
};

}  // namespace

void add_copies(const Op& op, std::vector<Op>& kernels) {
  if (op.m <= 0) return;
  Copies copies(op, kernels);
  switch (op.module) {
    case Module::bucket_in:
      return copies.one_by_one(kind::vectorised);
    case Module::bucket_out:
      return copies.one_by_one(kind::copy);
    case Module::shards_in:
      return copies.by_multi_tensor();
    case Module::gathered_out:
      return copies.in_one(kind::split);
    case Module::gradients_in:
      return copies.in_one(kind::chunk_cat);
    default:
      return copies.one_by_one(kind::vectorised);
  }
}

}  // namespace moesim::pytorch
