#include "sim/write/layer_kernels.hpp"

#include "models/base/at.hpp"
#include "sim/layer/acts.hpp"
#include "sim/write/columns.hpp"

namespace moesim {
namespace {

bool is_product(const PricedKernel& kernel) { return kernel.k > 0; }

/// A number of a product's shape.
template <auto member>
Value of_product(const PricedKernel& kernel) {
  return is_product(kernel) ? value_of(kernel.*member) : Value{};
}

constexpr Column<PricedKernel> columns_of_kernels[] = {
    {"name", [](const PricedKernel& kernel) { return value_of(kernel.name); }},
    {"class",
     [](const PricedKernel& kernel) { return value_of(at(kernel_class_names, kernel.kernel_class)); }},
    {"m", of_product<&PricedKernel::m>},
    {"n", of_product<&PricedKernel::n>},
    {"k", of_product<&PricedKernel::k>},
    {"elements",
     [](const PricedKernel& kernel) {
       return is_product(kernel) || kernel.m == 0 ? Value{} : value_of(kernel.m);
     }},
};

constexpr Column<KernelPrice> columns_of_prices[] = {
    {"time_s", [](const KernelPrice& price) { return seconds_of(price.time); }},
    {"gap_s", [](const KernelPrice& price) { return seconds_of(price.gap); }},
    {"flops", [](const KernelPrice& price) { return value_of(price.flops.count); }},
    {"moved_bytes", [](const KernelPrice& price) { return value_of(price.moved.count); }},
    {"launches", [](const KernelPrice& price) { return value_of(price.launches); }},
    {"waits", [](const KernelPrice& price) { return price.waits == 0 ? Value{} : value_of(price.waits); }},
};

/// An op of a pass, where it stands.
struct OpPlace {
  const LayerPasses& form;
  Pass pass;
  std::size_t act;
  const PricedAct& of;
  const PricedOp& op;
};

bool is_again(const OpPlace& place) {
  return place.pass != Pass::forward && place.op.pass == OpPass::forward;
}

constexpr Column<OpPlace> columns_of_places[] = {
    {"form", [](const OpPlace& place) { return value_of(form_of(place.form)); }},
    {"first_layer",
     [](const OpPlace& place) {
       return place.form.layers.empty() ? Value{} : value_of(place.form.layers.front());
     }},
    {"layers",
     [](const OpPlace& place) {
       return place.form.layers.empty() ? Value{} : value_of(place.form.layers.size());
     }},
    {"pass", [](const OpPlace& place) { return value_of(key_of(place.pass)); }},
    {"act", [](const OpPlace& place) { return value_of(place.act); }},
    {"activity", [](const OpPlace& place) { return value_of(name_of(place.of.act.activity)); }},
    {"op", [](const OpPlace& place) { return value_of(place.op.name); }},
    {"module", [](const OpPlace& place) { return value_of(at(module_names, place.op.module)); }},
    {"again", [](const OpPlace& place) { return value_of(is_again(place)); }},
};

template <class Visit>
void visit_ops(const LayerListing& listing, Visit visit) {
  for (const LayerPasses& form : listing.all) {
    for (const LayerPass& pass : form.passes) {
      for (std::size_t act = 0; act < pass.acts.size(); ++act) {
        for (const PricedOp& op : pass.acts[act].ops)
          visit(OpPlace{form, pass.pass, act, pass.acts[act], op});
      }
    }
  }
}

template <class Row>
void add_cells(const Row& row, const auto& columns, std::vector<TableCell>& cells) {
  for (const Column<Row>& column : columns) cells.push_back(cell_of(column.read(row)));
}

void add_names(const auto& columns, Table& table) {
  for (const auto& column : columns) table.columns.emplace_back(column.name);
}

}  // namespace

Value op_value(const PricedOp& op) {
  Value object = empty_object();
  object.set("op", value_of(op.name));
  object.set("module", value_of(at(module_names, op.module)));
  for (const Column<KernelPrice>& column : columns_of_prices)
    set_known(object, column.name, column.read(op.price));
  if (op.kept.count > 0) object.set("kept_bytes", value_of(op.kept.count));
  Value kernels = empty_list();
  for (const PricedKernel& kernel : op.kernels) {
    Value& made = kernels.items.emplace_back(object_of(kernel, columns_of_kernels));
    for (const Column<KernelPrice>& column : columns_of_prices)
      set_known(made, column.name, column.read(kernel.price));
  }
  object.set("kernels", std::move(kernels));
  return object;
}

Table kernel_table(const LayerListing& listing) {
  Table table;
  add_names(columns_of_places, table);
  table.columns.emplace_back("kernel");
  add_names(columns_of_kernels, table);
  add_names(columns_of_prices, table);
  visit_ops(listing, [&](const OpPlace& place) {
    for (std::size_t i = 0; i < place.op.kernels.size(); ++i) {
      std::vector<TableCell>& cells = table.rows.emplace_back();
      add_cells(place, columns_of_places, cells);
      cells.push_back(cell_of(value_of(i)));
      add_cells(place.op.kernels[i], columns_of_kernels, cells);
      add_cells(place.op.kernels[i].price, columns_of_prices, cells);
    }
  });
  return table;
}

std::string_view form_of(const LayerPasses& of) {
  if (of.end != Activity::none) return name_of(of.end);
  return of.has_experts ? "experts" : "dense";
}

}  // namespace moesim
