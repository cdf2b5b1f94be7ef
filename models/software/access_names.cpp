#include "models/software/access_names.hpp"

#include "models/software/pytorch.hpp"

namespace moesim::pytorch {
namespace {

constexpr Access named[] = {kind::vectorised,
                            kind::one_read,
                            kind::silu,
                            kind::silu_backward,
                            kind::fill,
                            kind::fill_fp32,
                            kind::copy,
                            kind::gather,
                            kind::widened,
                            kind::strided,
                            kind::broadcast,
                            kind::strided_broadcast,
                            kind::slices,
                            kind::row_factor,
                            kind::from_rows,
                            kind::masked_rows,
                            kind::expanded,
                            kind::joined,
                            kind::joined_halves,
                            kind::row_sums,
                            kind::short_row_sums,
                            kind::column_sums,
                            kind::softmax,
                            kind::log_softmax,
                            kind::log_softmax_backward,
                            kind::index_put,
                            kind::embedding_gradient,
                            kind::topk,
                            kind::adam};

}  // namespace

std::optional<Access> access_named(std::string_view name) {
  for (const Access& access : named) {
    if (access.name == name) return access;
  }
  return std::nullopt;
}

std::vector<std::string_view> access_names() {
  std::vector<std::string_view> names;
  for (const Access& one : named) names.push_back(one.name);
  return names;
}

}  // namespace moesim::pytorch
