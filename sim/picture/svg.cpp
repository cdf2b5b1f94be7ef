#include "sim/picture/svg.hpp"

#include <algorithm>

namespace moesim {

std::string escaped(std::string_view text) {
  std::string result;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      default:
        // Other control characters have no place in XML.
        result += static_cast<unsigned char>(letter) < 0x20 ? ' ' : letter;
    }
  }
  return result;
}

Svg::Svg(double width, double height, std::string_view style) {
  write(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\">\n<style>\n"
      "text{{font-family:Helvetica,Arial,sans-serif;font-size:12px;fill:#222}}\n",
      width, height);
  text_ += style;
  write("</style>\n<rect width=\"{:.0f}\" height=\"{:.0f}\" fill=\"#fff\"/>\n", width, height);
}

void Svg::text(double x, double y, std::string_view words, std::string_view anchor, std::string_view style) {
  write("<text x=\"{:.1f}\" y=\"{:.1f}\"", x, y);
  if (anchor != "start") write(" text-anchor=\"{}\"", anchor);
  if (!style.empty()) write(" style=\"{}\"", style);
  write(">{}</text>\n", escaped(words));
}

void Svg::title(double x, double y, const std::vector<std::string>& lines,
                const std::vector<std::string>& below) {
  std::string whole;
  for (const std::string& line : lines) whole += (whole.empty() ? "" : " ") + line;
  if (!whole.empty()) write("<title>{}</title>\n", escaped(whole));
  for (std::size_t i = 0; i < lines.size(); ++i) {
    text(x, y + title_line * static_cast<double>(i), lines[i], "start", "font-size:14px;font-weight:bold");
  }
  for (std::size_t i = 0; i < below.size(); ++i)
    text(x, y + title_line * static_cast<double>(lines.size() + i), below[i], "start", "fill:#555");
}

std::string Svg::finish() && {
  text_ += "</svg>\n";
  return std::move(text_);
}

double width_of(std::string_view text) { return 6.4 * static_cast<double>(text.size()); }

std::vector<std::string> lines_of(std::string_view text, std::size_t letters) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    std::size_t end = text.size();
    if (end > letters) {
      end = text.rfind(' ', letters);
      if (end == std::string_view::npos || end == 0) end = letters;
    }
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
    while (text.starts_with(' ')) text.remove_prefix(1);
  }
  return lines;
}

std::vector<std::string> subtitle_lines(std::string_view words, double width) {
  return lines_of(words, static_cast<std::size_t>(std::max(10.0, width / width_of("n"))));
}

std::vector<std::string> title_lines(std::string_view title, double width) {
  constexpr double letter = 8.6;  // of DejaVu, which is wider than Helvetica and stands in for it
  return lines_of(title, static_cast<std::size_t>(std::max(10.0, width / letter)));
}

}  // namespace moesim
