// Comma-separated values (RFC 4180): a header line and a line for each row.
#include "sim/write/writer.hpp"

namespace moesim {

namespace {

/// In quotes, its own doubled.
std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char letter : text) {
    if (letter == '"') result += '"';
    result += letter;
  }
  return result + '"';
}

std::string written(const TableCell& cell) {
  const bool needs_quotes = cell.text.find_first_of(",\"\n") != std::string::npos;
  return cell.is_quoted || needs_quotes ? quoted(cell.text) : cell.text;
}

class Csv final : public Writer {
 public:
  Csv() : Writer(Form::table) {}
  std::string write(const Told& told) const override {
    const Table table = told.table();
    std::string text;
    for (const std::string& column : table.columns) text += written({column}) + ",";
    text.back() = '\n';
    for (const std::vector<TableCell>& row : table.rows) {
      for (const TableCell& cell : row) text += written(cell) + ",";
      text.back() = '\n';
    }
    return text;
  }
};

}  // namespace

extern constexpr Entry<Writer> csv_writer{
    "csv", "comma-separated values, a header line first",
    [](Reader&) -> std::unique_ptr<const Writer> { return std::make_unique<Csv>(); }};

}  // namespace moesim
