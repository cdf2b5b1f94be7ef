// What every picture is drawn with: one self-contained SVG file.
#pragma once

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moesim {

/// Text as XML has it.
std::string escaped(std::string_view text);

/// Colours of Okabe and Ito (Color Universal Design, 2008): colour-blind readers tell them apart, and so does
/// black-and-white print, as each has another lightness.
namespace colour {
inline constexpr std::string_view blue = "#0072b2", orange = "#e69f00", yellow = "#f0e442", green = "#009e73",
                                  vermilion = "#d55e00", purple = "#cc79a7", sky = "#56b4e9", black = "#000";
}  // namespace colour

/// An SVG file in the making: a white sheet of so many pixels, with rules of style.
class Svg {
 public:
  Svg(double width, double height, std::string_view style);

  template <class... Arguments>
  void write(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Arguments>(arguments)...);
  }
  /// A line of text; `anchor` is start, middle or end, `style` CSS of its own.
  void text(double x, double y, std::string_view words, std::string_view anchor = "start",
            std::string_view style = {});
  /// A title in bold, in as many lines as it was broken into, and fainter lines below it; the first one's
  /// base is at `y`.
  void title(double x, double y, const std::vector<std::string>& lines,
             const std::vector<std::string>& below = {});
  std::string finish() &&;

 private:
  std::string text_;
};

/// How wide a text of the usual size is, about.
double width_of(std::string_view text);
/// A text in lines of at most so many letters, broken between words where that can be.
std::vector<std::string> lines_of(std::string_view text, std::size_t letters);
/// A title in lines of at most that width.
std::vector<std::string> title_lines(std::string_view title, double width);
/// What stands below it, in lines of at most that width.
std::vector<std::string> subtitle_lines(std::string_view words, double width);
inline constexpr double title_line = 18;  ///< pixels from line to line

}  // namespace moesim
