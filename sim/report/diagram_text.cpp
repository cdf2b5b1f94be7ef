// The diagram in a terminal: a line a rank. With colours, a cell is a block to half a column and a pair is
// split into halves, forward above backward; without, letters tell the passes apart.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "models/base/error.hpp"
#include "sim/report/diagram.hpp"

namespace moesim {
namespace {

/// How a kind of pass looks. Colours are the nearest in the terminal's palette of 256 to those of Okabe and
/// Ito (Color Universal Design, 2008), which colour-blind readers tell apart.
struct Look {
  char letter, fill;
  int background, foreground;
};
constexpr Look looks[] = {{'F', '-', 25, 231}, {'B', '=', 214, 16}, {'b', '=', 227, 16}, {'W', '~', 36, 16}};
constexpr Look pair_look{'X', '#', 25, 231};

const Look& look_of(Pass pass) { return looks[static_cast<std::size_t>(pass)]; }
const Look& look_of(const Cell& cell) { return cell.beneath ? pair_look : look_of(cell.slot.pass); }

/// Text cut into lines of at most `width` columns, at blanks where there are any.
std::string wrapped(std::string_view text, std::size_t width) {
  std::string lines;
  while (text.size() > width) {
    std::size_t end = text.rfind(' ', width);
    if (end == std::string_view::npos || end == 0) end = width;
    while (end > 1 && end == width && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
    lines += fmt::format("{}\n", text.substr(0, end));
    text.remove_prefix(std::min(text.size(), end + (text[end] == ' ' ? 1 : 0)));
  }
  return lines + fmt::format("{}\n", text);
}

/// A column of a row: the cells in its left and right half, null where the rank is idle.
struct Column {
  const Cell* left = nullptr;
  const Cell* right = nullptr;
};

class TextDrawing {
 public:
  TextDrawing(const Diagram& diagram, const TextStyle& style)
      : diagram_(diagram), style_(style), columns_(static_cast<std::size_t>(style.width) - margin_columns) {}

  std::string draw() const {
    const auto width = static_cast<std::size_t>(style_.width);
    std::string text = diagram_.title.empty() ? std::string() : wrapped(diagram_.title, width);
    text += wrapped(subtitle(diagram_), width) + "\n";
    for (std::size_t rank = 0; rank < diagram_.rows.size(); ++rank) {
      const DiagramRow& row = diagram_.rows[rank];
      text += fmt::format("{:>9} |{}|{:>5.1f} %\n", fmt::format("rank {}", rank), passes(row.cells),
                          100 * row.bubble);
    }
    return text + axis() + "\n" + legend();
  }

 private:
  static constexpr std::size_t margin_columns = 9 + 2 + 1 + 7;

  /// The half column at which a time begins, to the nearest; without colours a whole one.
  std::size_t half_column(Time time) const {
    const std::size_t grain = style_.colour ? 1 : 2;
    const double share = diagram_.end.count > 0 ? time / diagram_.end : 0;
    return grain * static_cast<std::size_t>(share * static_cast<double>(2 * columns_ / grain) + 0.5);
  }

  std::vector<Column> columns_of(const std::vector<Cell>& cells) const {
    std::vector<Column> columns(columns_);
    for (const Cell& cell : cells) {
      const std::size_t end = std::min(half_column(cell.end), 2 * columns_);
      for (std::size_t half = half_column(cell.start); half < end; ++half) {
        (half % 2 == 0 ? columns[half / 2].left : columns[half / 2].right) = &cell;
      }
    }
    return columns;
  }

  std::string passes(const std::vector<Cell>& cells) const {
    const std::vector<Column> columns = columns_of(cells);
    std::string text;
    for (std::size_t i = 0; i < columns.size();) {
      const Cell* cell = columns[i].left;
      std::size_t end = i;
      while (end < columns.size() && columns[end].left == cell && columns[end].right == cell) ++end;
      if (end == i) {
        text += split(columns[i++]);
      } else {
        text += cell == nullptr ? idle(end - i)
                : style_.colour ? block(*cell, end - i)
                                : letters(*cell, end - i);
        i = end;
      }
    }
    return text;
  }

  std::string painted(int foreground, int background, std::string_view text) const {
    return fmt::format("\x1b[38;5;{};48;5;{}m{}\x1b[0m", foreground, background, text);
  }

  std::string idle(std::size_t width) const {
    const std::string dots(width, '.');
    return style_.colour ? fmt::format("\x1b[2m{}\x1b[0m", dots) : dots;
  }

  /// A column in which one cell gives way to another.
  std::string split(const Column& column) const {
    const auto paint = [](const Cell* cell) { return cell == nullptr ? 236 : look_of(*cell).background; };
    return painted(paint(column.left), paint(column.right), "\u258c");  // left half block
  }

  /// Coloured columns of one cell, with its microbatch where there is room.
  std::string block(const Cell& cell, std::size_t width) const {
    const Look& look = look_of(cell.slot.pass);
    if (cell.beneath) return pair_block(cell, width);
    std::string label = fmt::format("{}", cell.slot.microbatch);
    if (label.size() > width) label = label.substr(label.size() - 1);
    label.resize(width, ' ');
    return painted(look.foreground, look.background, label);
  }

  std::string pair_block(const Cell& cell, std::size_t width) const {
    const Look& above = look_of(cell.slot.pass);
    const Look& below = look_of(cell.beneath->pass);
    const std::string first = fmt::format("{}", cell.slot.microbatch);
    const std::string second = fmt::format("{}", cell.beneath->microbatch);
    std::string text;
    if (first.size() + second.size() < width) {
      text = painted(above.foreground, above.background, first) +
             painted(below.foreground, below.background, second);
      width -= first.size() + second.size();
    }
    std::string halves;
    for (std::size_t i = 0; i < width; ++i) halves += "\u2580";  // upper half block
    return text + painted(above.background, below.background, halves);
  }

  /// "F12--": the kind, the microbatch where there is room (its last digit where there is little), a line.
  std::string letters(const Cell& cell, std::size_t width) const {
    const Look& look = look_of(cell);
    std::string number = fmt::format("{}", cell.slot.microbatch);
    if (cell.beneath && 2 + number.size() < width) number += fmt::format("+{}", cell.beneath->microbatch);
    if (number.size() + 1 > width) number = fmt::format("{}", cell.slot.microbatch % 10);
    std::string text = look.letter + number;
    text.resize(width, look.fill);
    return text;
  }

  std::string axis() const {
    std::string marks(columns_, ' ');
    const auto at_most = std::max<std::int64_t>(2, static_cast<std::int64_t>(columns_) / 14);
    std::size_t free = 0;
    for (const Tick& tick : ticks(diagram_.end, at_most)) {
      const std::size_t at = half_column(tick.at) / 2;
      const std::string mark = fmt::format("|{}", tick.label);
      if (at < free || at + mark.size() > columns_) continue;
      marks.replace(at, mark.size(), mark);
      free = at + mark.size() + 1;
    }
    marks.erase(marks.find_last_not_of(' ') + 1);
    return fmt::format("{:>9}  {}\n", "", marks);
  }

  /// What the drawing uses, in words.
  std::string legend() const {
    std::set<Pass> passes;
    bool has_pairs = false;
    for (const DiagramRow& row : diagram_.rows) {
      for (const Cell& cell : row.cells) {
        if (!cell.beneath || style_.colour) passes.insert(cell.slot.pass);
        if (cell.beneath && style_.colour) passes.insert(cell.beneath->pass);
        has_pairs |= cell.beneath.has_value();
      }
    }
    std::vector<Entry> entries;
    for (const Pass pass : passes) {
      const Look& look = look_of(pass);
      entries.push_back(entry(look.letter, painted(look.foreground, look.background, "  "), name_of(pass)));
    }
    if (has_pairs) {
      entries.push_back(entry(pair_look.letter, painted(25, 214, "\u2580\u2580"), name_of({}, true)));
    }
    entries.push_back({"%: share of the rank's span that is bubble"});
    entries.insert(entries.end() - 1, {". bubble"});
    return joined(entries);
  }

  /// A part of the legend; escape sequences take no columns.
  struct Entry {
    std::string text;
    std::size_t width = text.size();
  };

  Entry entry(char letter, const std::string& swatch, std::string_view name) const {
    if (style_.colour) return {fmt::format("{} {}", swatch, name), name.size() + 3};
    return {fmt::format("{} {}", letter, name)};
  }

  std::string joined(const std::vector<Entry>& entries) const {
    std::string text;
    std::size_t used = 0;
    for (const Entry& one : entries) {
      if (used > 0 && used + 3 + one.width > static_cast<std::size_t>(style_.width)) {
        text += "\n";
        used = 0;
      }
      text += (used > 0 ? "   " : "") + one.text;
      used += (used > 0 ? 3 : 0) + one.width;
    }
    return text + "\n";
  }

  const Diagram& diagram_;
  const TextStyle& style_;
  std::size_t columns_;
};

}  // namespace

std::string draw_text(const Diagram& diagram, const TextStyle& style) {
  ensure(style.width >= narrowest_text, "a text diagram has room for labels");
  return TextDrawing(diagram, style).draw();
}

}  // namespace moesim
