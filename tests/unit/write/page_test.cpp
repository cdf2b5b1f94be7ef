// A page has in it what the report says, whole and harmless, and needs nothing else.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "models/base/file.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/expert_tokens.hpp"
#include "sim/report/link_use.hpp"
#include "sim/run/simulate.hpp"
#include "sim/write/page_run.hpp"
#include "sim/write/page_template.hpp"
#include "sim/write/page_timeline.hpp"
#include "sim/write/report.hpp"
#include "sim/write/slices.hpp"
#include "sim/write/trace.hpp"
#include "tests/support/folder.hpp"
#include "tests/support/packed.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

using Json = nlohmann::json;

/// What stands in the script element of a page.
std::string data_text(const std::string& page) {
  const std::string open = R"(<script type="application/json" id="data">)";
  const std::size_t begin = page.find(open);
  REQUIRE(begin != std::string::npos);
  CHECK(page.find(open, begin + 1) == std::string::npos);
  const std::size_t end = page.find("</script>", begin);
  REQUIRE(end != std::string::npos);
  return page.substr(begin + open.size(), end - begin - open.size());
}

Scenario scenario_of(const std::string& file, const std::vector<std::string>& sets = {}) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario("scenarios/" + file + ".json", overrides);
}

/// A run beside its scenario, which it refers to.
struct Ran {
  explicit Ran(const std::string& file) : scenario(scenario_of(file)), run(simulate(scenario)) {}
  Ran(const Ran&) = delete;
  Ran& operator=(const Ran&) = delete;
  Scenario scenario;
  Simulation run;
};

Told told_of(const Simulation& run) {
  return tell({run.work, run.graph, run.timeline, run.report}, [] { return Value{}; });
}

Json page_of(const Simulation& run) {
  return Json::parse(one_line(page_run({run.work, run.graph, run.timeline, run.report})));
}

/// A slice, read back; times in ticks.
struct Seen {
  std::int64_t start = 0, end = 0;
  std::size_t kind = 0;
  std::size_t actor = 0;
  bool is_critical = false;
  std::int64_t microbatch = 0, layer = 0, cause = -1;
};

std::vector<Seen> slices_in(const Json& timeline) {
  std::vector<Seen> all;
  Unpacked unpacked(timeline.at("slices").get<std::string>());
  std::map<std::tuple<std::size_t, int, int>, std::int64_t> ends;
  Seen slice;
  const auto counts = timeline.at("actors_slices").get<std::vector<std::size_t>>();
  for (slice.actor = 0; slice.actor < counts.size(); ++slice.actor) {
    for (std::size_t i = 0; i < counts[slice.actor]; ++i) {
      const std::uint64_t gap = unpacked.next(), length = unpacked.next(), code = unpacked.next();
      slice.kind = code / 2;
      slice.is_critical = code % 2 == 1;
      const Json& kind = timeline.at("kinds").at(slice.kind);
      std::int64_t& end = ends[{slice.actor, kind.at(3).get<int>(), kind.at(4).get<int>()}];
      slice.start = end + static_cast<std::int64_t>(gap);
      slice.end = end = slice.start + static_cast<std::int64_t>(length);
      slice.microbatch += unpacked.next_signed();
      slice.layer += unpacked.next_signed();
      const std::uint64_t cause = unpacked.next();
      slice.cause = cause == 0 ? -1 : static_cast<std::int64_t>(all.size()) - Unpacked::unfolded(cause - 1);
      all.push_back(slice);
    }
  }
  CHECK(unpacked.is_at_end());
  CHECK(all.size() == timeline.at("count").get<std::size_t>());
  return all;
}

/// (actor, stream, activity, microbatch, layer, start, end) of each slice.
using Fingerprints = std::multiset<
    std::tuple<std::size_t, int, std::string, std::int64_t, std::int64_t, std::int64_t, std::int64_t>>;

Fingerprints fingerprints_of(const Json& timeline) {
  Fingerprints all;
  for (const Seen& slice : slices_in(timeline)) {
    const Json& kind = timeline.at("kinds").at(slice.kind);
    all.insert({slice.actor, kind.at(3).get<int>(), kind.at(0).get<std::string>(), slice.microbatch,
                slice.layer, slice.start, slice.end});
  }
  return all;
}

void require_whole_timeline(const Scenario& scenario) {
  const Simulation run = simulate(scenario);
  const Json timeline = page_of(run).at("timeline");
  const std::int64_t tick = page_tick(run.timeline.makespan()).count;
  Fingerprints expected;
  std::size_t critical = 0;
  std::vector<bool> is_critical(run.graph.size(), false);
  for (const CriticalStep& step : run.path) is_critical[step.task] = true;
  for (const Slice& slice : slices_of(run.graph, run.timeline)) {
    const Tag& tag = run.graph.tags[slice.task];
    expected.insert({slice.actor, static_cast<int>(slice.stream), std::string(name_of(tag.activity)),
                     tag.microbatch, tag.layer, slice.start.count / tick, slice.end.count / tick});
    critical += is_critical[slice.task] ? 1 : 0;
  }
  CHECK(!timeline.contains("left_out"));
  CHECK(fingerprints_of(timeline) == expected);
  std::size_t marked = 0, caused = 0;
  const std::vector<Seen> slices = slices_in(timeline);
  for (const Seen& slice : slices) {
    marked += slice.is_critical ? 1 : 0;
    if (slice.cause < 0) continue;
    ++caused;
    CHECK(slices.at(static_cast<std::size_t>(slice.cause)).end <= slice.start);
  }
  CHECK(marked == critical);
  CHECK(2 * caused + 2 > slices.size());
}

}  // namespace

TEST_CASE("The page that the program writes is the one that tools page has built") {
  CHECK(page_template() == project_file("tools/page/dist/page.html"));
}

TEST_CASE("A page fetches nothing") {
  const std::string page(page_template());
  for (const std::string sign : {"http:", "https:", "src=", "<link", "@import", "url(", "fetch(",
                                 "XMLHttpRequest", "WebSocket", "EventSource", "sendBeacon", "import("}) {
    INFO(sign);
    CHECK(page.find(sign) == std::string::npos);
  }
  CHECK(page.find("default-src 'none'") != std::string::npos);            // so that a browser would refuse to
  CHECK(page.find("Permission is hereby granted") != std::string::npos);  // the licence of what draws curves
}

TEST_CASE("The data of a page is the report as JSON and as text has it") {
  const Ran ran("mixtral-8x7b-h100");
  const Simulation& run = ran.run;
  Told told = told_of(run);
  told.command = "moesim run scenarios/mixtral-8x7b-h100.json";
  const Json data = Json::parse(data_text(write(told, "html")));
  CHECK(data.at("schema") == "moesim.page/1");
  CHECK(data.at("report") == Json::parse(write(told, "json")));
  CHECK(data.at("text") == write(told, "text"));
  CHECK(data.at("command") == told.command);
}

TEST_CASE("The page of a run is the same every time, and below 2 MB for the main scenario") {
  const Ran ran("deepseek-v3-h800");
  const Simulation& run = ran.run;
  const std::string page = write(told_of(run), "html");
  CHECK(page == write(told_of(run), "html"));
  CHECK(page.size() < 2'000'000);
  CHECK(page.size() > 500'000);
}

TEST_CASE("No name of a scenario becomes markup of its page") {
  const std::string hostile =
      "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> \"' &amp; ]]>";
  Ran ran("dualpipe-8x20");
  Simulation& run = ran.run;
  run.report.about = run.report.title = hostile;
  Told told = told_of(run);
  told.command = hostile;
  const std::string data = data_text(write(told, "html"));
  CHECK(data.find('<') == std::string::npos);
  CHECK(Json::parse(data).at("report").at("about") == hostile);
  CHECK(Json::parse(data).at("command") == hostile);
}

TEST_CASE("A page's timeline has every slice of the run, with what it waited for and the critical path") {
  require_whole_timeline(scenario_of("two-gpus", {"resolution=full"}));
  require_whole_timeline(scenario_of("dualpipe-8x20"));
  require_whole_timeline(scenario_of("mixtral-8x7b-h100"));
  require_whole_timeline(scenario_of("validation/nccl-h200"));
}

TEST_CASE("A page's timeline of too many slices draws passes as one, then fewer ranks, and says so") {
  const Ran ran("mixtral-8x7b-h100");
  const Simulation& run = ran.run;
  const PageActors actors{actor_names(run.work.scenario, run.graph),
                          run.graph.actor_count / run.work.order.ranks.size()};
  const auto shown = [&](std::size_t most) {
    return Json::parse(one_line(page_timeline(actors, run.graph, run.timeline, most)));
  };
  const Json whole = shown(1'000'000);
  const auto all = whole.at("count").get<std::size_t>();
  std::size_t before = all;
  for (const std::size_t most : {all - 1, all / 20, std::size_t{40}, std::size_t{7}}) {
    const Json less = shown(most);
    INFO(most << ": " << less.at("left_out"));
    CHECK(slices_in(less).size() <= most);
    CHECK(less.at("count").get<std::size_t>() <= before);
    CHECK(less.at("all") == all);
    CHECK(less.at("end") == whole.at("end"));
    before = less.at("count").get<std::size_t>();
  }
}

TEST_CASE("The times of a page's ranks are in the mean the report's breakdown") {
  for (const std::string file : {"deepseek-v3-h800", "mixtral-8x7b-h100", "straggler"}) {
    INFO(file);
    const Ran ran(file);
    const Simulation& run = ran.run;
    const Json ranks = page_of(run).at("ranks");
    REQUIRE(ranks.size() == run.report.pipeline_ranks.size());
    std::map<std::string, double> means;
    for (const Json& rank : ranks) {
      double sum = 0;
      for (const auto& [name, value] : rank.items()) {
        const double seconds =
            value.is_object() ? std::accumulate(value.begin(), value.end(), 0.0,
                                                [](double a, const Json& b) { return a + b.get<double>(); })
                              : value.get<double>();
        means[name] += seconds / static_cast<double>(ranks.size());
        sum += seconds;
      }
      CHECK(sum == Approx(to_seconds(run.report.step_time)).epsilon(1e-9));
    }
    CHECK(means["compute_s"] == Approx(to_seconds(run.report.breakdown.compute)).epsilon(1e-9));
    CHECK(means["exposed_s"] == Approx(to_seconds(run.report.breakdown.exposed_communication)).epsilon(1e-9));
    CHECK(means["bubble_s"] == Approx(to_seconds(run.report.breakdown.bubble)).epsilon(1e-7));
  }
}

TEST_CASE("The most memory that a page's curve shows is the report's") {
  const Ran ran("mixtral-8x7b-h100");
  const Simulation& run = ran.run;
  const Json memory = page_of(run).at("memory");
  REQUIRE(memory.at("ranks").size() == run.report.memory.size());
  for (std::size_t rank = 0; rank < run.report.memory.size(); ++rank) {
    const Json& curve = memory.at("ranks").at(rank);
    Unpacked low(curve.at("low").get<std::string>()), high(curve.at("high").get<std::string>());
    std::int64_t most = 0, at_low = 0, at_high = 0;
    for (std::size_t span = 0; span < memory.at("spans").get<std::size_t>(); ++span) {
      at_low += low.next_signed();
      at_high += high.next_signed();
      CHECK(at_low <= at_high);
      most = std::max(most, at_high);
    }
    CHECK(high.is_at_end());
    CHECK(most == std::llround(static_cast<double>(run.report.memory[rank].activations.count) / 1000));
  }
}

TEST_CASE("The use of links over time comes to what the report says of each class") {
  for (const std::string file : {"deepseek-v3-h800", "mixtral-8x7b-h100"}) {
    const Ran ran(file);
    const Simulation& run = ran.run;
    for (const std::size_t most_rows : {std::size_t{4}, std::size_t{32}}) {
      const std::vector<LinkRow> rows = link_use(run.work.scenario, run.graph, run.timeline, 100, most_rows);
      for (const LinkClassReport& of_class : run.report.link_classes) {
        INFO(file << " " << at(link_class_names, of_class.link_class));
        double sum = 0;
        std::size_t count = 0;
        for (const LinkRow& row : rows) {
          if (row.link_class != of_class.link_class) continue;
          ++count;
          for (const double share : row.use) sum += share / 100;
        }
        CHECK(count <= most_rows);
        CHECK(sum / static_cast<double>(count) == Approx(of_class.mean_utilization).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("Tokens of experts on a page have the busiest expert that the report names") {
  const Ran ran("hot-expert");
  const Simulation& run = ran.run;
  const std::vector<LayerTokens> layers = expert_tokens(run.work);
  REQUIRE(run.report.routing->busiest.size() == layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::vector<std::int64_t>& tokens = layers[i].of_experts;
    const auto most = std::max_element(tokens.begin(), tokens.end());
    CHECK(layers[i].layer == run.report.routing->busiest[i].layer);
    CHECK(most - tokens.begin() == run.report.routing->busiest[i].expert);
  }
  CHECK(page_of(run).at("experts").size() == layers.size());
  CHECK(!page_of(Ran("dualpipe-8x20").run).contains("experts"));
}

TEST_CASE("Each command that reports writes a page of what it reports") {
  const Folder folder("pages");
  const std::string page = folder.at("page.html");
  const std::vector<std::pair<std::string, std::string>> commands{
      {"run scenarios/two-gpus.json", "moesim.report/1"},
      {"compare scenarios/dualpipe-8x20.json --over schedule.kind=1f1b,dualpipe", "moesim.compare/1"},
      {"sweep scenarios/dualpipe-8x20.json --over schedule.kind=1f1b,dualpipe", ""},
      {"search scenarios/two-gpus.json --simulate 2", "moesim.search/1"},
      {"validate --group schedules", "moesim.validate/1"}};
  for (const auto& [command, schema] : commands) {
    INFO(command);
    const std::string line = fmt::format("moesim {} --html '{}'", command, page);
    const Outcome outcome = run_shell(line + " >/dev/null");
    CHECK(outcome.code == 0);
    const Json data = Json::parse(data_text(read_file(page)));
    CHECK(data.at("command").get<std::string>().find(command) != std::string::npos);
    if (!schema.empty()) {
      CHECK(data.at("report").at("schema") == schema);
    } else {
      CHECK(data.at("table").at("rows").size() == 2);
      CHECK(data.at("scenario").at("pipeline").at("stages") == 8);
    }
    std::filesystem::remove(page);
  }
}

TEST_CASE("A page has the command line as a shell takes it, and none is written of wrong input") {
  const Folder folder("pages");
  const std::string page = folder.at("a b.html");
  const Outcome outcome =
      run_shell(fmt::format("moesim run scenarios/two-gpus.json --set 'about=it'\"'\"'s' --html '{}'", page));
  REQUIRE(outcome.code == 0);
  const std::string command = Json::parse(data_text(read_file(page))).at("command");
  CHECK(
      command.ends_with(fmt::format("run scenarios/two-gpus.json --set 'about=it'\\''s' --html '{}'", page)));
  std::filesystem::remove(page);
  CHECK(run_shell(fmt::format("moesim run scenarios/two-gpus.json --set a.b=1 --html '{}'", page)).code == 2);
  CHECK(!std::filesystem::exists(page));
}
