// A web page in one file: everything that is told, as data for the page's own script (tools/page).
#include <string>
#include <string_view>

#include "models/base/error.hpp"
#include "models/config/values.hpp"
#include "sim/report/fact.hpp"
#include "sim/write/page_run.hpp"
#include "sim/write/page_template.hpp"
#include "sim/write/writer.hpp"

namespace moesim {
namespace {

/// Names, labels and units of facts, so that the page has none of its own.
Value facts_value() {
  Value rows = empty_list();
  for (const Fact& fact : facts()) {
    Value row = empty_list();
    row.items = {value_of(fact.path),
                 value_of(fact.called()),
                 value_of(fact.label),
                 value_of(fact.headed()),
                 value_of(unit_names[static_cast<std::size_t>(fact.unit)]),
                 value_of(fact.digits),
                 value_of(static_cast<int>(fact.better))};
    rows.items.push_back(std::move(row));
  }
  return rows;
}

Value table_value(const Table& table) {
  Value rows = empty_list();
  for (const std::vector<TableCell>& row : table.rows) {
    Value& cells = rows.items.emplace_back(empty_list());
    for (const TableCell& cell : row) cells.items.push_back(value_of(cell.text));
  }
  Value value = empty_object();
  value.set("columns", list_of(table.columns));
  value.set("rows", std::move(rows));
  return value;
}

/// What the page's script reads. A table stands in for a document where there is none.
Value data_of(const Told& told) {
  Value data = empty_object();
  data.set("schema", value_of("moesim.page/1"));
  data.set("command", value_of(told.command));
  if (told.text) data.set("text", value_of(told.text()));
  if (told.json) {
    data.set("report", told.json());
  } else {
    data.set("table", table_value(told.table()));
  }
  if (told.scenario) data.set("scenario", told.scenario());
  data.set("facts", facts_value());
  if (told.run) data.set("run", page_run(told.run()));
  return data;
}

/// JSON that a script element can hold: of what HTML reads in there, all begins with this letter, which JSON
/// has inside of texts alone.
std::string inside_script(const std::string& json) {
  std::string text;
  text.reserve(json.size());
  for (const char letter : json) {
    if (letter == '<') {
      text += "\\u003c";
    } else {
      text += letter;
    }
  }
  return text;
}

class Html final : public Writer {
 public:
  Html() : Writer(Form::page) {}
  std::string write(const Told& told) const override {
    constexpr std::string_view empty = R"(<script type="application/json" id="data">null</script>)";
    const std::string_view page = page_template();
    const std::size_t place = page.find(empty);
    ensure(place != std::string_view::npos, "the page has a place for data");
    const std::size_t data = place + empty.find("null");
    std::string text(page.substr(0, data));
    text += inside_script(one_line(data_of(told)));
    text += page.substr(data + std::string_view("null").size());
    return text;
  }
};

}  // namespace

extern constexpr Entry<Writer> html_writer{
    "html", "web page that needs nothing else",
    [](Reader&) -> std::unique_ptr<const Writer> { return std::make_unique<Html>(); }};

}  // namespace moesim
