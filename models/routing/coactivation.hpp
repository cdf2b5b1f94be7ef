// Experts that a token chooses together more often than chance would have it.
#pragma once

#include <cstdint>
#include <string_view>

#include "models/config/reader.hpp"
#include "models/routing/loads.hpp"

namespace moesim {

/// Where the experts of a topic are among all.
enum class TopicOrder : std::uint8_t {
  together,     ///< neighbours
  interleaved,  ///< each of as many neighbours is of another topic
};
inline constexpr std::string_view topic_order_names[] = {"together", "interleaved"};

/// A token has one of several topics, to each of which as many experts belong, and chooses an expert of its
/// topic that many times as likely as another that is as popular.
struct Coactivation {
  std::int64_t topics = 1;
  double factor = 1;
  TopicOrder order = TopicOrder::together;

  std::int64_t topic_of(std::int64_t expert, std::int64_t experts) const {
    return order == TopicOrder::together ? expert * topics / experts : expert % topics;
  }
};

/// Throws InputError, whose message is what is wrong, where a token of this gate has no such choice.
void check(const Coactivation& coactivation, const Gate& gate);

/// Reads "topics", "factor" and "order".
Coactivation read_coactivation(Reader reader);

/// Expected number of equal, contiguous blocks that a token's experts lie in where all are equally popular
/// and so are topics, which divide experts. Exact; even_reach() for a factor of 1.
double coactive_reach(const Gate& gate, const Coactivation& coactivation, std::int64_t blocks);

}  // namespace moesim
