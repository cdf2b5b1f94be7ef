#include "models/config/misfit.hpp"

#include <fmt/args.h>

namespace moesim {

std::string Misfit::what() const {
  fmt::dynamic_format_arg_store<fmt::format_context> store;
  for (std::size_t i = 0; i < count_; ++i)
    std::visit([&](const auto& number) { store.push_back(number); }, numbers_[i]);
  return fmt::vformat(fmt::string_view(text_.data(), text_.size()), store);
}

}  // namespace moesim
