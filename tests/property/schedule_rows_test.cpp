// What `moesim schedule` lists: orders and acts as rows, alike in every format, for whatever is drawn.
#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "models/config/values.hpp"
#include "models/transformer/layer_ops.hpp"
#include "sim/picture/diagram.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/share.hpp"
#include "sim/write/layer_passes.hpp"
#include "sim/write/order.hpp"
#include "tests/support/drawn.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

/// Scenarios that can run, of so many that are drawn.
template <class Law>
void for_drawn(std::string_view stream, std::uint64_t many, Law law) {
  std::uint64_t served = 0;
  for (std::uint64_t number = 0; number < many; ++number) {
    const Drawn drawn = draw(Random(7).stream(stream, number));
    std::optional<Scenario> scenario = read_drawn(drawn);
    if (!scenario) continue;
    INFO(drawn.text());
    try {
      law(std::move(*scenario));
      ++served;
    } catch (const InputError&) {  // a collective refuses the groups
    }
  }
  CHECK(served > many / 10);
}

LayerListing listing_of(Scenario scenario) {
  const Order order = work_of(scenario).order;
  return {{}, "title", "plan", layer_passes(std::move(scenario), order)};
}

Scenario mixtral(const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario(MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json", overrides);
}

/// Calls `visit(form, pass)` for every pass that is listed.
void for_passes(const LayerListing& listing, const auto& visit) {
  for (const LayerPasses& form : listing.all) {
    for (const LayerPass& pass : form.passes) visit(form, pass);
  }
}

bool is_text_of(const Value* value, const std::string& text) {
  return value == nullptr || value->kind == Value::Kind::null ? text.empty() : cell_of(*value).text == text;
}

/// A row of the table has what the object has, under the names of its columns.
void check_alike(const Table& table, std::size_t row, const Value& object) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    INFO(table.columns[i] << " is " << table.rows[row][i].text << " in " << one_line(object));
    if (object.find(table.columns[i]) == nullptr && table.columns[i] == "act") continue;
    CHECK(is_text_of(object.find(table.columns[i]), table.rows[row][i].text));
  }
}

double sum(const Value& acts, std::string_view key) {
  double all = 0;
  for (const Value& act : acts.items) all += act.find(key) == nullptr ? 0 : act.find(key)->number;
  return all;
}

}  // namespace

TEST_CASE("A row of an order is a slot of it, whatever the schedule and the layout") {
  for_drawn("rows of orders", 150, [](const Scenario& scenario) {
    const Simulation simulation = simulate(scenario);
    const Diagram diagram =
        make_diagram(simulation.work.order, simulation.graph, simulation.timeline, simulation.report);
    const Told told = tell(
        diagram.slots, simulation.report, [] { return empty_object(); }, [] { return std::string(); });
    const Table table = told.table();
    const Value document = told.json();
    const Value& slots = member(document, {"slots"});
    std::size_t row = 0;
    for (const std::vector<Slot>& rank : simulation.work.order.ranks) {
      for (std::size_t i = 0; i < rank.size(); ++i, ++row) {
        REQUIRE(row < diagram.slots.size());
        const OrderRow& listed = diagram.slots[row];
        CHECK(listed.slot == rank[i]);
        CHECK(listed.position == i);
        if (!listed.beside) continue;
        const OrderRow& other = diagram.slots[row - i + *listed.beside];
        CHECK(other.beside == i);
        CHECK(other.cell.has_value() == listed.cell.has_value());
        CHECK((other.slot.pass == Pass::forward) != (listed.slot.pass == Pass::forward));
      }
    }
    REQUIRE(diagram.slots.size() == row);
    REQUIRE(table.rows.size() == row);
    REQUIRE(slots.items.size() == row);
    for (std::size_t i = 0; i < row; ++i) check_alike(table, i, slots.items[i]);
    CHECK(member(document, {"passes_end_s"}).number == Approx(to_seconds(diagram.end)).epsilon(1e-12));
  });
}

TEST_CASE("What acts take adds up to their pass, and what they keep to what it keeps") {
  for_drawn("acts of layers", 150, [](Scenario scenario) {
    const LayerListing listing = listing_of(std::move(scenario));
    for_passes(listing, [](const LayerPasses&, const LayerPass& pass) {
      Time all, on_main;
      Bytes kept;
      for (const PricedAct& row : pass.acts) {
        all += row.time;
        if (!row.is_beside()) on_main += row.time;
        kept += row.kept;
        CHECK(row.again <= row.time);
      }
      const bool has_beside = all != on_main;
      CHECK(kept == pass.kept);
      CHECK(pass.time <= all + all);  // a call may slow computation down
      if (!has_beside) CHECK(pass.time == all);
    });
  });
}

TEST_CASE("Kernels of a computation take its time, move its bytes and have its FLOPs") {
  for_drawn("kernels of acts", 100, [](Scenario scenario) {
    const LayerListing listing = listing_of(std::move(scenario));
    for_passes(listing, [](const LayerPasses&, const LayerPass& pass) {
      for (const PricedAct& row : pass.acts) {
        KernelPrice ops, kernels;
        for (const PricedOp& op : row.ops) {
          ops += op.price;
          for (const PricedKernel& kernel : op.kernels) kernels += kernel.price;
        }
        CHECK(row.ops.empty() == (row.act.kind != ActKind::compute));
        CHECK(ops.time == kernels.time);
        CHECK(ops.launches == kernels.launches);
        CHECK(ops.moved == row.moved);
        if (row.act.kind != ActKind::compute) continue;
        CHECK(to_seconds(ops.time + ops.gap) == Approx(to_seconds(row.time)).epsilon(1e-6));
        CHECK(ops.flops.count == Approx(row.flops.count).epsilon(1e-9));
      }
    });
  });
}

TEST_CASE("Kernels in JSON, in the table and in text are the same") {
  for_drawn("formats of kernels", 20, [](Scenario scenario) {
    LayerListing listing = listing_of(std::move(scenario));
    listing.kernels = true;
    const Told told = tell(listing, [] { return empty_object(); });
    const Table table = told.table();
    const Value document = told.json();
    const std::string text = told.text();
    std::size_t row = 0;
    for (const Value& form : member(document, {"forms"}).items) {
      for (const Value& pass : member(form, {"passes"}).items) {
        for (const Value& act : member(pass, {"acts"}).items) {
          if (act.find("ops") == nullptr) continue;
          for (const Value& op : act.find("ops")->items) {
            CHECK(text.find("\n        " + op.find("op")->text) != std::string::npos);
            for (const Value& kernel : op.find("kernels")->items) {
              REQUIRE(row < table.rows.size());
              CHECK(text.find(kernel.find("name")->text) != std::string::npos);
              for (std::size_t i = 0; i < table.columns.size(); ++i) {
                if (const Value* found = kernel.find(table.columns[i]))
                  CHECK(cell_of(*found).text == table.rows[row][i].text);
              }
              ++row;
            }
          }
        }
      }
    }
    CHECK(row == table.rows.size());
  });
}

TEST_CASE("Acts wait for acts before them, and one after the other where nothing goes beside") {
  for_drawn("waits of acts", 150, [](Scenario scenario) {
    const LayerListing listing = listing_of(std::move(scenario));
    for_passes(listing, [](const LayerPasses&, const LayerPass& pass) {
      const bool has_beside = std::any_of(pass.acts.begin(), pass.acts.end(),
                                          [](const PricedAct& row) { return row.act.lane != main_lane; });
      std::vector<std::size_t> last;
      for (std::size_t i = 0; i < pass.acts.size(); ++i) {
        for (const std::size_t act : pass.acts[i].waits_for) {
          CHECK(act < i);
          CHECK(pass.acts[act].act.kind != ActKind::produces);
        }
        if (has_beside) continue;
        CHECK(pass.acts[i].waits_for == last);
        if (pass.acts[i].act.kind != ActKind::produces) last = {i};
      }
    });
  });
}

TEST_CASE("JSON, the table and the text of layers have the same rows") {
  for_drawn("formats of layers", 60, [](Scenario scenario) {
    const LayerListing listing = listing_of(std::move(scenario));
    const Told told = tell(listing, [] { return empty_object(); });
    const Table table = told.table();
    const Value document = told.json();
    const std::string text = told.text();
    std::size_t row = 0;
    for (const Value& form : member(document, {"forms"}).items) {
      for (const Value& pass : member(form, {"passes"}).items) {
        const Value& acts = member(pass, {"acts"});
        for (std::size_t i = 0; i < acts.items.size(); ++i, ++row) {
          REQUIRE(row < table.rows.size());
          Value whole = acts.items[i];
          whole.set("form", member(form, {"form"}));
          if (const Value* layers = form.find("layers"); layers != nullptr) {
            whole.set("first_layer", layers->items.front());
            whole.set("layers", value_of(layers->items.size()));
          }
          whole.set("pass", member(pass, {"pass"}));
          whole.set("pass_time_s", member(pass, {"time_s"}));
          whole.set("act", value_of(i));
          check_alike(table, row, whole);
        }
        const double kept = sum(acts, "kept_bytes");
        CHECK(kept == (pass.find("kept_bytes") == nullptr ? 0 : pass.find("kept_bytes")->number));
        if (kept > 0) CHECK(text.find(print(from_bytes(kept))) != std::string::npos);
        CHECK(text.find(print(from_seconds(member(pass, {"time_s"}).number))) != std::string::npos);
      }
      row += form.find("pair_s") == nullptr ? 0 : 1;
    }
    CHECK(row == table.rows.size());
  });
}

TEST_CASE("FLOPs of a layer's acts are those of its ops, however context parallelism cuts them") {
  for (const std::string exchange : {"ring", "all_gather"}) {
    for (const int context : {1, 2, 4}) {
      Scenario scenario = mixtral({"parallelism.context=" + std::to_string(context), "recompute=full",
                                   "parallelism.context_exchange=" + exchange});
      const LayerOps ops = ops_of_layer(scenario, 0);
      const Flops forward{total_flops(ops.attention.forward).count +
                          total_flops(ops.feed_forward.forward).count};
      const Flops backward{total_flops(ops.attention.backward_input).count +
                           total_flops(ops.attention.backward_weight).count +
                           total_flops(ops.feed_forward.backward_input).count +
                           total_flops(ops.feed_forward.backward_weight).count};
      const LayerListing listing = listing_of(std::move(scenario));
      INFO(exchange << " " << context);
      for_passes(listing, [&](const LayerPasses& form, const LayerPass& pass) {
        if (form.end != Activity::none) return;
        double flops = 0;
        Time again;
        for (const PricedAct& row : pass.acts) {
          flops += row.flops.count;
          if (row.act.kind == ActKind::compute) again += row.again;
        }
        const bool is_forward = pass.pass == Pass::forward;
        CHECK(flops == Approx((is_forward ? forward : backward).count).epsilon(1e-12));
        CHECK((again.count == 0) == is_forward);
      });
    }
  }
}

TEST_CASE("A full recomputation computes and sends again what the forward does") {
  const LayerListing listing = listing_of(mixtral({"recompute=full", "parallelism.tensor=2"}));
  for (const LayerPasses& form : listing.all) {
    if (form.end != Activity::none) continue;
    Time forward, again;
    for (const PricedAct& row : form.passes[0].acts) forward += row.time;
    for (const PricedAct& row : form.passes[1].acts) again += row.again;
    // The gather of the feed-forward block is that of attention's again.
    CHECK(again == forward);
  }
}

TEST_CASE("The text of layers marks what goes on beside the pass, and only that") {
  const std::string text = layer_text(listing_of(mixtral({"parallelism.context=4"})));
  bool has_ring = false;
  for (const std::string& line : lines_of(text)) {
    if (line.find('|') == std::string::npos) continue;
    INFO(line);
    CHECK(line.find("context point_to_point") != std::string::npos);
    has_ring = true;
  }
  CHECK(has_ring);
}

TEST_CASE("A tied head says where its matrix stands") {
  const auto heading = [](const std::vector<std::string>& sets) {
    const std::string text = layer_text(listing_of(mixtral(sets)));
    const std::size_t at = text.find("\nhead");
    return text.substr(at + 1, text.find('\n', at + 1) - at - 1);
  };
  CHECK(heading({}) == "head");
  CHECK(heading({"model.tied_embedding=true"}) == "head, tied: its matrix is a copy of the embedding's");
  CHECK(heading({"model.tied_embedding=true", "parallelism.pipeline=1", "parallelism.layers_per_stage=[]"}) ==
        "head, tied: its matrix is the embedding's, above");
}

TEST_CASE("Columns of a drawing are refused where nothing is drawn") {
  const Outcome table =
      run_moesim({"schedule", "scenarios/two-gpus.json", "--format", "csv", "--width", "80"});
  CHECK(table.code == 2);
  CHECK(table.err.find("--width: is of text, not of csv") != std::string::npos);
  const Outcome layer = run_moesim({"schedule", "scenarios/two-gpus.json", "--layer", "--width", "80"});
  CHECK(layer.code == 2);
  CHECK(layer.err.find("--layer") != std::string::npos);
}
