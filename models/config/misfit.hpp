// What does not fit what, as a value: its numbers are put into words only where somebody asks.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace moesim {

/// A clash at a key of a document. Cheap to make: texts that it is given by view must outlive it.
class Misfit {
 public:
  /// `text` says what clashes, a format of fmt for `numbers`: whole ones, ratios and texts, five at most.
  template <class... Numbers>
  Misfit(std::string_view key, fmt::format_string<const Numbers&...> text, const Numbers&... numbers)
      : key_(key), text_(fmt::string_view(text).data(), fmt::string_view(text).size()) {
    static_assert(sizeof...(Numbers) <= most);
    ((numbers_[count_++] = numbers), ...);
  }
  /// The same with a second line that helps to mend it.
  Misfit with_hint(std::string hint) && {
    hint_ = std::move(hint);
    return std::move(*this);
  }

  std::string_view key() const { return key_; }
  /// What clashes, in words.
  std::string what() const;
  const std::string& hint() const { return hint_; }

 private:
  static constexpr std::size_t most = 5;

  std::string_view key_;
  std::string_view text_;
  std::array<std::variant<std::int64_t, double, std::string_view, std::string>, most> numbers_;
  std::size_t count_ = 0;
  std::string hint_;
};

/// What a rule returns: nothing where all fits.
using Fit = std::optional<Misfit>;

}  // namespace moesim
