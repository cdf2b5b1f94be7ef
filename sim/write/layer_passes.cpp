#include "sim/write/layer_passes.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/base/at.hpp"
#include "sim/layer/acts.hpp"
#include "sim/write/columns.hpp"
#include "sim/write/layer_kernels.hpp"

namespace moesim {
namespace {

constexpr std::array<std::string_view, 8> kind_names{"compute",  "call",   "join",    "needs",
                                                     "produces", "leaves", "returns", "lets_go"};

bool is_call(const PricedAct& row) { return row.act.kind == ActKind::call; }
bool is_compute(const PricedAct& row) { return row.act.kind == ActKind::compute; }
bool takes_time(const PricedAct& row) { return is_call(row) || is_compute(row); }
bool is_of_ring(const PricedAct& row) { return row.act.blocks > 0; }

Value group_of(const PricedAct& row) {
  if (!is_call(row)) return {};
  return value_of(at(scope_names, scope_of(row.act.activity)));
}

Value waits_for(const PricedAct& row) { return row.waits_for.empty() ? Value{} : list_of(row.waits_for); }

/// Where there is something.
Value count_of(Bytes bytes) { return bytes.count == 0 ? Value{} : value_of(bytes.count); }

constexpr Column<PricedAct> columns_of_acts[] = {
    {"kind", [](const PricedAct& row) { return value_of(at(kind_names, row.act.kind)); }},
    {"activity", [](const PricedAct& row) { return value_of(name_of(row.act.activity)); }},
    {"gradient",
     [](const PricedAct& row) {
       if (!is_compute(row) || row.act.pass == OpPass::forward || row.is_forward_again()) return Value{};
       return value_of(row.act.pass == OpPass::backward_input ? "input" : "weight");
     }},
    {"operation",
     [](const PricedAct& row) {
       return is_call(row) ? value_of(at(operation_names, row.act.operation)) : Value{};
     }},
    {"first_block",
     [](const PricedAct& row) { return is_of_ring(row) ? value_of(row.act.first_block) : Value{}; }},
    {"blocks", [](const PricedAct& row) { return is_of_ring(row) ? value_of(row.act.blocks) : Value{}; }},
    {"group", group_of},
    {"group_size", [](const PricedAct& row) { return is_call(row) ? value_of(row.group_size) : Value{}; }},
    {"time_s", [](const PricedAct& row) { return takes_time(row) ? seconds_of(row.time) : Value{}; }},
    {"again_s", [](const PricedAct& row) { return row.again.count > 0 ? seconds_of(row.again) : Value{}; }},
    {"flops", [](const PricedAct& row) { return is_compute(row) ? value_of(row.flops.count) : Value{}; }},
    {"moved_bytes",
     [](const PricedAct& row) { return is_compute(row) ? value_of(row.moved.count) : Value{}; }},
    {"bytes",
     [](const PricedAct& row) { return is_compute(row) ? Value{} : value_of(std::llround(row.bytes)); }},
    {"stream",
     [](const PricedAct& row) {
       return takes_time(row) ? value_of(is_call(row) ? "exchange" : "compute") : Value{};
     }},
    {"waits_for", waits_for},
    {"kept_bytes", [](const PricedAct& row) { return count_of(row.kept); }},
    {"beside", [](const PricedAct& row) { return takes_time(row) ? value_of(row.is_beside()) : Value{}; }},
};

/// "of_embedding": that of the head of a tied model.
Value matrix_of(const LayerPasses& of) {
  static constexpr std::array<std::string_view, 3> names{"own", "of_embedding", "copy_of_embedding"};
  return of.matrix == LayerPasses::Matrix::own ? Value{} : value_of(at(names, of.matrix));
}

Value object_of_pass(const LayerPass& pass) {
  Value object = empty_object();
  object.set("pass", value_of(key_of(pass.pass)));
  object.set("time_s", seconds_of(pass.time));
  set_known(object, "kept_bytes", count_of(pass.kept));
  Value acts = empty_list();
  for (const PricedAct& act : pass.acts) {
    Value& made = acts.items.emplace_back(object_of(act, columns_of_acts));
    if (act.ops.empty()) continue;
    Value ops = empty_list();
    for (const PricedOp& op : act.ops) ops.items.push_back(op_value(op));
    made.set("ops", std::move(ops));
  }
  object.set("acts", std::move(acts));
  return object;
}

Value object_of_form(const LayerPasses& of) {
  Value object = empty_object();
  object.set("form", value_of(form_of(of)));
  if (!of.layers.empty()) object.set("layers", list_of(of.layers));
  set_known(object, "matrix", matrix_of(of));
  Value passes = empty_list();
  for (const LayerPass& pass : of.passes) passes.items.push_back(object_of_pass(pass));
  object.set("passes", std::move(passes));
  if (of.pair) object.set("pair_s", seconds_of(*of.pair));
  return object;
}

Value document_of(const LayerListing& listing, Value scenario) {
  Value document = empty_object();
  document.set("schema", value_of("moesim.layers/1"));
  document.set("about", value_of(listing.about));
  document.set("plan", value_of(listing.plan));
  document.set("scenario", std::move(scenario));
  Value forms = empty_list();
  for (const LayerPasses& of : listing.all) forms.items.push_back(object_of_form(of));
  document.set("forms", std::move(forms));
  return document;
}

/// An act where it stands; a pair has none.
struct Row {
  const LayerPasses& form;
  std::string_view pass;
  Time time;
  const PricedAct* act;
  std::size_t number;
};

constexpr Column<Row> columns_before_acts[] = {
    {"form", [](const Row& row) { return value_of(form_of(row.form)); }},
    {"first_layer",
     [](const Row& row) { return row.form.layers.empty() ? Value{} : value_of(row.form.layers.front()); }},
    {"layers",
     [](const Row& row) { return row.form.layers.empty() ? Value{} : value_of(row.form.layers.size()); }},
    {"pass", [](const Row& row) { return value_of(row.pass); }},
    {"pass_time_s", [](const Row& row) { return seconds_of(row.time); }},
    {"act", [](const Row& row) { return row.act == nullptr ? Value{} : value_of(row.number); }},
};

std::vector<Row> rows_of(const LayerListing& listing) {
  std::vector<Row> rows;
  for (const LayerPasses& of : listing.all) {
    for (const LayerPass& pass : of.passes) {
      for (std::size_t i = 0; i < pass.acts.size(); ++i)
        rows.push_back({of, key_of(pass.pass), pass.time, &pass.acts[i], i});
    }
    if (of.pair) rows.push_back({of, "pair", *of.pair, nullptr, 0});
  }
  return rows;
}

Table table_of(const LayerListing& listing) {
  const std::vector<Row> rows = rows_of(listing);
  Table table = table_of(rows, columns_before_acts);
  for (const Column<PricedAct>& column : columns_of_acts) {
    table.columns.emplace_back(column.name);
    for (std::size_t i = 0; i < rows.size(); ++i)
      table.rows[i].push_back(rows[i].act == nullptr ? TableCell{} : cell_of(column.read(*rows[i].act)));
  }
  return table;
}

}  // namespace

Told tell(const LayerListing& listing, std::function<Value()> scenario) {
  return {.text = [&listing] { return layer_text(listing); },
          .json = [&listing, scenario = std::move(scenario)] { return document_of(listing, scenario()); },
          .table = [&listing] { return listing.kernels ? kernel_table(listing) : table_of(listing); }};
}

}  // namespace moesim
