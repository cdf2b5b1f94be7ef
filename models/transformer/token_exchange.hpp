// How tokens get to the ranks of their experts, and results home.
#pragma once

#include <cstdint>
#include <string_view>

namespace moesim {

enum class TokenExchange : std::uint8_t {
  all_to_all,  ///< a row goes to each rank that has an expert of its token, and comes back
  all_gather,  ///< every rank of a group gets all tokens of it and takes those of its experts; what experts
               ///< made of a token is added up over the ranks where it belongs (reduce-scatter)
};
inline constexpr std::string_view token_exchange_names[] = {"all_to_all", "all_gather"};

}  // namespace moesim
