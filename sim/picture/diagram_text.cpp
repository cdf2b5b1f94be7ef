// The diagram in a terminal: a line a rank. With colours, a cell is a block to half a column and a pair is
// split into halves, forward above backward; without, letters tell the passes apart.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/picture/diagram.hpp"

namespace moesim {
namespace {

/// A colour and what is legible on it, in the terminal's palette of 256.
struct Paint {
  int background, foreground;
};

/// How a kind of pass looks. Colours are the nearest to those of Okabe and Ito (Color Universal Design,
/// 2008), which colour-blind readers tell apart; odd chunks are lighter.
struct Look {
  char letter, fill;
  Paint paint, light;
};
constexpr Look looks[] = {{'F', '-', {25, 231}, {110, 16}},
                          {'B', '=', {214, 16}, {222, 16}},
                          {'b', '=', {227, 16}, {230, 16}},
                          {'W', '~', {36, 16}, {115, 16}}};
constexpr char pair_letter = 'X', pair_fill = '#';

const Look& look_of(Pass pass) { return at(looks, pass); }
Paint paint_of(const Slot& slot) {
  return slot.chunk % 2 == 0 ? look_of(slot.pass).paint : look_of(slot.pass).light;
}

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
    if (!diagram_.plan.empty()) text += wrapped(diagram_.plan, width);
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
    const std::size_t grains = 2 * columns_ / grain;
    return grain * static_cast<std::size_t>(share * static_cast<double>(grains) + 0.5);
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

  static std::string painted(Paint paint, std::string_view text) {
    return fmt::format("\x1b[38;5;{};48;5;{}m{}\x1b[0m", paint.foreground, paint.background, text);
  }

  /// In the paint's background colour, on the terminal's own.
  static std::string coloured(Paint paint, std::string_view text) {
    return fmt::format("\x1b[38;5;{}m{}\x1b[0m", paint.background, text);
  }

  std::string idle(std::size_t width) const {
    const std::string dots(width, '.');
    return style_.colour ? fmt::format("\x1b[2m{}\x1b[0m", dots) : dots;
  }

  /// A column in which one cell gives way to another. A pair takes all of it: its halves are the other way.
  std::string split(const Column& column) const {
    if (column.left != nullptr && column.left->beneath) return halves(*column.left, 1);
    if (column.right != nullptr && column.right->beneath) return halves(*column.right, 1);
    static constexpr std::string_view left_half = "\u258c", right_half = "\u2590";
    if (column.right == nullptr) return coloured(paint_of(column.left->slot), left_half);
    if (column.left == nullptr) return coloured(paint_of(column.right->slot), right_half);
    return painted({paint_of(column.right->slot).background, paint_of(column.left->slot).background},
                   left_half);
  }

  /// Whether a cell is long enough for a number, whichever columns it falls on.
  bool has_room(const Cell& cell) const {
    const double columns = (cell.end - cell.start) / diagram_.end * static_cast<double>(columns_);
    return columns >= (style_.colour ? 1.5 : 2);
  }

  /// Coloured columns of one cell, with its microbatch where there is room.
  std::string block(const Cell& cell, std::size_t width) const {
    if (cell.beneath) return pair_block(cell, width);
    std::string label = has_room(cell) ? fmt::format("{}", cell.slot.microbatch) : std::string();
    if (label.size() > 1 && label.size() >= width) label = label.substr(label.size() - 1);
    label.resize(width, ' ');
    return painted(paint_of(cell.slot), label);
  }

  std::string pair_block(const Cell& cell, std::size_t width) const {
    const std::string first = fmt::format("{}", cell.slot.microbatch);
    const std::string second = fmt::format("{}", cell.beneath->microbatch);
    if (first.size() + second.size() >= width) return halves(cell, width);
    return painted(paint_of(cell.slot), first) + painted(paint_of(*cell.beneath), second) +
           halves(cell, width - first.size() - second.size());
  }

  /// Forward above backward.
  std::string halves(const Cell& cell, std::size_t width) const {
    std::string blocks;
    for (std::size_t i = 0; i < width; ++i) blocks += "\u2580";  // upper half block
    return painted({paint_of(*cell.beneath).background, paint_of(cell.slot).background}, blocks);
  }

  /// "F12--": the kind, the microbatch where there is room (its last digit where there is little), a line.
  std::string letters(const Cell& cell, std::size_t width) const {
    std::string number = has_room(cell) ? fmt::format("{}", cell.slot.microbatch) : std::string();
    if (cell.beneath && 2 + number.size() < width) number += fmt::format("+{}", cell.beneath->microbatch);
    if (number.size() + 1 > width) number = fmt::format("{}", cell.slot.microbatch % 10);
    const Look& look = look_of(cell.slot.pass);
    std::string text = (cell.beneath ? pair_letter : look.letter) + number;
    text.resize(width, cell.beneath ? pair_fill : look.fill);
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
    const Cell* pair = nullptr;
    bool has_chunks = false;
    for (const DiagramRow& row : diagram_.rows) {
      for (const Cell& cell : row.cells) {
        if (!cell.beneath || style_.colour) passes.insert(cell.slot.pass);
        if (cell.beneath && style_.colour) passes.insert(cell.beneath->pass);
        if (cell.beneath) pair = &cell;
        has_chunks |= cell.slot.chunk > 0;
      }
    }
    std::vector<Entry> entries;
    for (const Pass pass : passes) {
      entries.push_back(entry(look_of(pass).letter, painted(look_of(pass).paint, "  "), name_of(pass)));
    }
    if (pair != nullptr) entries.push_back(entry(pair_letter, halves(*pair, 2), name_of({}, true)));
    if (has_chunks && style_.colour) entries.push_back({"lighter: odd chunks"});
    entries.push_back({". bubble"});
    entries.push_back({"%: bubble in the rank's span"});
    entries.push_back({"numbers: microbatch, or its last digit"});
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
