#include "models/software/access_names.hpp"

#include <utility>

#include "models/software/pytorch.hpp"

namespace moesim::pytorch {
namespace {

constexpr std::pair<std::string_view, Access> named[] = {{"vectorised", kind::vectorised},
                                                         {"one_read", kind::one_read},
                                                         {"silu", kind::silu},
                                                         {"silu_backward", kind::silu_backward},
                                                         {"fill", kind::fill},
                                                         {"fill_fp32", kind::fill_fp32},
                                                         {"copy", kind::copy},
                                                         {"gather", kind::gather},
                                                         {"widened", kind::widened},
                                                         {"strided", kind::strided},
                                                         {"broadcast", kind::broadcast},
                                                         {"strided_broadcast", kind::strided_broadcast},
                                                         {"slices", kind::slices},
                                                         {"row_factor", kind::row_factor},
                                                         {"from_rows", kind::from_rows},
                                                         {"masked_rows", kind::masked_rows},
                                                         {"expanded", kind::expanded},
                                                         {"joined", kind::joined},
                                                         {"joined_halves", kind::joined_halves},
                                                         {"row_sums", kind::row_sums},
                                                         {"short_row_sums", kind::short_row_sums},
                                                         {"column_sums", kind::column_sums},
                                                         {"softmax", kind::softmax},
                                                         {"log_softmax", kind::log_softmax},
                                                         {"log_softmax_backward", kind::log_softmax_backward},
                                                         {"index_put", kind::index_put},
                                                         {"embedding_gradient", kind::embedding_gradient},
                                                         {"topk", kind::topk},
                                                         {"adam", kind::adam}};

}  // namespace

std::optional<Access> access_named(std::string_view name) {
  for (const auto& [known, access] : named) {
    if (known == name) return access;
  }
  return std::nullopt;
}

std::vector<std::string_view> access_names() {
  std::vector<std::string_view> names;
  for (const auto& one : named) names.push_back(one.first);
  return names;
}

}  // namespace moesim::pytorch
