#include "sim/picture/diagram.hpp"
#include "sim/read/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <regex>
#include <sstream>

#include "sim/run/simulate.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

struct Drawn {
  Order order;
  Report report;
  Diagram diagram;
};

Drawn draw(const Scenario& scenario) {
  Simulation simulation = simulate(scenario);
  Diagram diagram =
      make_diagram(simulation.work.order, simulation.graph, simulation.timeline, simulation.report);
  return {std::move(simulation.work.order), std::move(simulation.report), std::move(diagram)};
}

Drawn draw_pipeline(std::string_view kind, int stages, int microbatches) {
  return draw(read_scenario(load_document_text(
      fmt::format(R"({{"about": "{0} <&> {1} x {2}", "pipeline": {{"stages": {1}, "microbatches": {2}}},
                      "schedule": {{"kind": "{0}"}},
                      "cost": {{"kind": "fixed", "forward": "3 ms", "backward_input": "4 ms",
                                "backward_weight": "2 ms", "overlapped_forward_backward": "8 ms",
                                "p2p_latency": "100 us"}}}})",
                  kind, stages, microbatches),
      "here")));
}

const std::vector<std::string_view> kinds = member_names(schedules());

/// A pass, comparable.
using Key = std::tuple<Pass, int, int>;
Key key_of(const Slot& slot) { return {slot.pass, slot.chunk, slot.microbatch}; }

void require_every_pass_once(const Drawn& drawn) {
  REQUIRE(drawn.diagram.rows.size() == drawn.order.ranks.size());
  for (std::size_t rank = 0; rank < drawn.diagram.rows.size(); ++rank) {
    const std::vector<Cell>& cells = drawn.diagram.rows[rank].cells;
    std::vector<Key> passes, expected;
    Time until, busy;
    for (const Cell& cell : cells) {
      passes.push_back(key_of(cell.slot));
      if (cell.beneath) passes.push_back(key_of(*cell.beneath));
      REQUIRE(cell.start >= until);
      REQUIRE(cell.end > cell.start);
      busy += cell.end - cell.start;
      until = cell.end;
    }
    for (const Slot& slot : drawn.order.ranks[rank]) expected.push_back(key_of(slot));
    CHECK(until <= drawn.diagram.end);
    CHECK(busy == drawn.report.pipeline_ranks[rank].busy);
    std::sort(passes.begin(), passes.end());
    std::sort(expected.begin(), expected.end());
    CHECK(passes == expected);
  }
}

std::size_t columns(const std::string& line) {
  static const std::regex escape("\x1b\\[[0-9;]*m");
  const std::string bare = std::regex_replace(line, escape, "");
  return static_cast<std::size_t>(std::count_if(bare.begin(), bare.end(), [](char letter) {
    return (static_cast<unsigned char>(letter) & 0xc0U) != 0x80U;
  }));
}

void require_text_of_width(const Diagram& diagram, const TextStyle& style) {
  std::istringstream text(draw_text(diagram, style));
  const std::regex rank(" *rank ([0-9]+) \\|.*");
  std::size_t ranks = 0;
  for (std::string line; std::getline(text, line);) {
    REQUIRE(columns(line) <= static_cast<std::size_t>(style.width));
    std::smatch match;
    if (!std::regex_match(line, match, rank)) continue;
    CHECK(match[1] == fmt::format("{}", ranks++));
    CHECK(columns(line) == static_cast<std::size_t>(style.width));
  }
  CHECK(ranks == diagram.rows.size());
}

/// Every tag that is opened is closed, in order, and no bare '<' or '&' stands in a text.
void require_well_formed(const std::string& xml) {
  static const std::regex piece("<(/?)([a-z]+)([^<>]*?)(/?)>|([^<]+)");
  std::vector<std::string> open;
  std::size_t at = 0;
  for (std::sregex_iterator match(xml.begin(), xml.end(), piece), end; match != end; ++match) {
    REQUIRE(static_cast<std::size_t>(match->position()) == at);
    at += static_cast<std::size_t>(match->length());
    if ((*match)[5].matched) {
      REQUIRE(std::regex_match((*match)[5].str(), std::regex("([^&]|&(amp|lt|gt);)*")));
    } else if ((*match)[1].length() > 0) {
      REQUIRE(!open.empty());
      REQUIRE(open.back() == (*match)[2]);
      open.pop_back();
    } else if ((*match)[4].length() == 0) {
      open.push_back((*match)[2]);
    }
  }
  CHECK(at == xml.size());
  CHECK(open.empty());
}

void require_rectangles_apart(const std::string& svg, std::size_t passes) {
  static const std::regex rectangle(
      "<rect class=\"[a-z]+\" x=\"([0-9.]+)\" y=\"([0-9.]+)\" width=\"([0-9.]+)\" "
      "height=\"[0-9.]+\"><title>");
  std::map<std::string, std::vector<std::pair<double, double>>> rows;
  std::size_t count = 0;
  for (std::sregex_iterator match(svg.begin(), svg.end(), rectangle), end; match != end; ++match, ++count) {
    const double x = std::stod((*match)[1]);
    rows[(*match)[2]].emplace_back(x, x + std::stod((*match)[3]));
  }
  CHECK(count == passes);
  for (auto& [y, spans] : rows) {
    std::sort(spans.begin(), spans.end());
    for (std::size_t i = 1; i < spans.size(); ++i) REQUIRE(spans[i - 1].second <= spans[i].first + 0.02);
  }
}

/// Two ranks: a forward and a pair, a backward in two parts.
Diagram small() {
  const Slot forward{.pass = Pass::forward, .microbatch = 12};
  const Slot backward{.pass = Pass::backward, .microbatch = 3};
  return {.title = "Small",
          .plan = "PP 2, small",
          .end = 21_ms,
          .microbatches = 13,
          .bubble_mean = 0.25,
          .bubble_fraction = 1.0 / 3,
          .rows = {{.cells = {{.start = 0_ms, .end = 5_ms, .slot = forward, .beneath = {}},
                              {.start = 7_ms, .end = 16_ms, .slot = forward, .beneath = backward}},
                    .bubble = 1.0 / 3},
                   {.cells = {{.start = 5_ms,
                               .end = 8_ms,
                               .slot = {.pass = Pass::backward_input, .microbatch = 3},
                               .beneath = {}},
                              {.start = 8_ms,
                               .end = 9_ms,
                               .slot = {.pass = Pass::backward_weight, .microbatch = 3},
                               .beneath = {}},
                              {.start = 9_ms, .end = 21_ms, .slot = backward, .beneath = {}}},
                    .bubble = 0.125}}};
}

}  // namespace

TEST_CASE("Every pass is drawn once and no two of a rank overlap, whatever the schedule") {
  for (const std::string_view kind : kinds) {
    INFO(kind);
    require_every_pass_once(draw_pipeline(kind, 4, 16));
  }
}

TEST_CASE("Passes of a model are drawn with the exchanges that they wait for") {
  for (const std::string kind : {"1f1b", "zb_h1", "gpipe"}) {
    INFO(kind);
    require_every_pass_once(
        draw(load_scenario("scenarios/mixtral-8x7b-h100.json", {parse_override("schedule.kind=" + kind)})));
  }
}

TEST_CASE("A text diagram has one line a rank and never exceeds its width") {
  for (const std::string_view kind : kinds) {
    const Diagram diagram = draw_pipeline(kind, 4, 16).diagram;
    for (const bool colour : {false, true}) {
      for (const std::int64_t width : {40, 41, 77, 100, 333, 2000}) {
        INFO(kind << " in " << width);
        require_text_of_width(diagram, {.width = width, .colour = colour});
      }
    }
  }
}

TEST_CASE("A text diagram tells the passes apart and numbers them where there is room") {
  CHECK(draw_text(small(), {.width = 61, .colour = false}) ==
        R"(Small
PP 2, small
2 pipeline ranks, 13 microbatches; passes end at 21 ms;
bubble 25.00 % of a rank's span in the mean, 33.33 % of the
slowest's

   rank 0 |F12-------....X12+3#############..........| 33.3 %
   rank 1 |..........b3====W3B3======================| 12.5 %
           |0 ms               |10 ms

F forward   B backward   b backward for inputs
W backward for weights   X forward and backward overlapped
. bubble   %: bubble in the rank's span
numbers: microbatch, or its last digit
)");
}

TEST_CASE("A text diagram in colour splits a pair into forward above backward") {
  const std::string text = draw_text(small(), {.width = 61, .colour = true});
  const std::string reset = "\x1b[0m";
  CHECK(text.find("\x1b[38;5;231;48;5;25m12        " + reset + "\x1b[2m....") != std::string::npos);
  CHECK(text.find("\x1b[38;5;231;48;5;25m12" + reset + "\x1b[38;5;16;48;5;214m3" + reset +
                  "\x1b[38;5;25;48;5;214m\u2580\u2580") != std::string::npos);
}

TEST_CASE("An SVG diagram is well-formed, and its passes do not overlap") {
  for (const std::string_view kind : kinds) {
    INFO(kind);
    const Drawn drawn = draw_pipeline(kind, 4, 16);
    std::size_t passes = 0;
    for (const std::vector<Slot>& rank : drawn.order.ranks) passes += rank.size();
    const std::string svg = draw_svg(drawn.diagram);
    require_well_formed(svg);
    require_rectangles_apart(svg, passes);
    CHECK(svg.find(fmt::format("<title>{} &lt;&amp;&gt; 4 x 16</title>", kind)) != std::string::npos);
  }
}

TEST_CASE("Marks of a time axis are round, have a unit and are as many as asked for") {
  const auto labels = [](Time end, std::int64_t at_most) {
    std::vector<std::string> texts;
    for (const Tick& tick : ticks(end, at_most)) texts.push_back(tick.label);
    return texts;
  };
  using Labels = std::vector<std::string>;
  CHECK(labels(21_ms, 3) == Labels{"0 ms", "10 ms", "20 ms"});
  CHECK(labels(2500_ms, 6) == Labels{"0 s", "0.5 s", "1 s", "1.5 s", "2 s", "2.5 s"});
  CHECK(labels(999_us, 5) == Labels{"0 us", "200 us", "400 us", "600 us", "800 us"});
  CHECK(labels(0_ps, 5) == Labels{"0 ps"});
  for (std::int64_t end = 1; end < 1'000'000'000'000'000; end = end * 3 + 1) {
    const std::vector<Tick> marks = ticks({end}, 8);
    CHECK(marks.size() <= 8);
    CHECK(marks.size() >= (end < 3 ? 2U : 3U));
    CHECK(marks.back().at.count <= end);
  }
}
