#include "models/transformer/access_laws.hpp"

#include <algorithm>
#include <array>
#include <iterator>

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
                            kind::silu_of_slice,
                            kind::silu_backward_of_slice,
                            kind::row_factor,
                            kind::from_rows,
                            kind::masked_rows,
                            kind::expanded,
                            kind::mixed,
                            kind::mixed_row_factor,
                            kind::joined_halves,
                            kind::joined,
                            kind::joined_unaligned,
                            kind::row_sums,
                            kind::short_row_sums,
                            kind::column_sums,
                            kind::strided_column_sums,
                            kind::softmax,
                            kind::softmax_unaligned,
                            kind::softmax_backward,
                            kind::softmax_backward_unaligned,
                            kind::maximum,
                            kind::log_softmax,
                            kind::log_softmax_backward,
                            kind::sums_of_few_rows,
                            kind::index_put,
                            kind::index_put_fp32,
                            kind::embedding_gradient,
                            kind::index_add,
                            kind::topk,
                            kind::counts,
                            kind::head_sums,
                            kind::strided_head_sums,
                            kind::adam,
                            kind::row_products,
                            kind::outer_products,
                            kind::fp32_product,
                            kind::complex_product,
                            kind::norm,
                            kind::norm_input,
                            kind::gather_again,
                            kind::scatter_add,
                            kind::listed,
                            kind::scaled,
                            kind::vector_norm,
                            kind::across,
                            kind::multi_tensor,
                            kind::split,
                            kind::chunk_cat};

}  // namespace

std::optional<Access> access_named(std::string_view name) {
  const auto found =
      std::find_if(std::begin(named), std::end(named), [&](const Access& one) { return one.name == name; });
  return found == std::end(named) ? std::nullopt : std::optional(*found);
}

std::span<const std::string_view> access_names() {
  static constexpr auto names = [] {
    std::array<std::string_view, std::size(named)> all;
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = named[i].name;
    return all;
  }();
  return names;
}

}  // namespace moesim::pytorch
