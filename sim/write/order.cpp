#include "sim/write/order.hpp"

#include <algorithm>

#include "models/config/values.hpp"
#include "sim/report/fact.hpp"
#include "sim/write/columns.hpp"

namespace moesim {
namespace {

constexpr Column<OrderRow> columns[] = {
    {"rank", [](const OrderRow& row) { return value_of(row.rank); }},
    {"position", [](const OrderRow& row) { return value_of(row.position); }},
    {"pass", [](const OrderRow& row) { return value_of(key_of(row.slot.pass)); }},
    {"microbatch", [](const OrderRow& row) { return value_of(row.slot.microbatch); }},
    {"chunk", [](const OrderRow& row) { return value_of(row.slot.chunk); }},
    {"stage", [](const OrderRow& row) { return value_of(row.stage); }},
    {"beside", [](const OrderRow& row) { return row.beside ? value_of(*row.beside) : Value{}; }},
    {"start_s", [](const OrderRow& row) { return row.cell ? seconds_of(row.cell->start) : Value{}; }},
    {"end_s", [](const OrderRow& row) { return row.cell ? seconds_of(row.cell->end) : Value{}; }},
};

constexpr std::string_view facts_of_orders[] = {"bubble_fraction", "bubble_mean", "bubble_most",
                                                "peak_memory", "fits"};

Value document_of(const std::vector<OrderRow>& rows, const Report& report, Value scenario) {
  Value document = empty_object();
  document.set("schema", value_of("moesim.schedule/1"));
  document.set("about", value_of(report.about));
  document.set("plan", value_of(report.plan));
  document.set("fingerprint", value_of(report.fingerprint));
  document.set("scenario", std::move(scenario));
  Time end;
  for (const OrderRow& row : rows) end = row.cell ? std::max(end, row.cell->end) : end;
  document.set("passes_end_s", seconds_of(end));
  for (const std::string_view name : facts_of_orders) set_known(document, name, read(fact(name), report));
  Value slots = empty_list();
  for (const OrderRow& row : rows) slots.items.push_back(object_of(row, columns));
  document.set("slots", std::move(slots));
  return document;
}

}  // namespace

Told tell(const std::vector<OrderRow>& rows, const Report& report, std::function<Value()> scenario,
          std::function<std::string()> text) {
  return {.text = std::move(text),
          .json = [&rows, &report,
                   scenario = std::move(scenario)] { return document_of(rows, report, scenario()); },
          .table = [&rows] { return table_of(rows, columns); }};
}

}  // namespace moesim
