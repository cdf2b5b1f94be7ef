#include "sim/write/page_run.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/at.hpp"
#include "models/config/values.hpp"
#include "sim/report/cells.hpp"
#include "sim/report/counters.hpp"
#include "sim/report/expert_tokens.hpp"
#include "sim/report/link_use.hpp"
#include "sim/report/occupancy.hpp"
#include "sim/report/report.hpp"
#include "sim/write/columns.hpp"
#include "sim/write/packed.hpp"
#include "sim/write/page_timeline.hpp"
#include "sim/write/trace.hpp"

namespace moesim {
namespace {

// A page of the largest of these stays below 2 MB.
constexpr std::size_t most_slices = 100'000, most_cells = 24'000;
constexpr std::size_t memory_spans = 600, most_memory_ranks = 64;
constexpr std::size_t link_spans = 300, most_link_rows = 32;

/// Mean over the devices of one pipeline rank.
Value row_of_rank(const std::vector<Occupancy>& actors, std::size_t first, std::size_t positions, Time step) {
  const auto mean = [&](auto member) {
    MeanTime devices;
    for (std::size_t i = first; i < first + positions; ++i) devices.add(member(actors[i]), actors[i].devices);
    return devices.mean();
  };
  const Time compute = mean([](const Occupancy& o) { return o.compute; });
  const Time optimizer = mean([](const Occupancy& o) { return o.optimizer; });
  const Time host = mean([](const Occupancy& o) { return o.held_up; });
  Time rest = step - compute - optimizer - host;
  Value exposed = empty_object();
  for (const Activity activity : communications) {
    const Time time = mean([&](const Occupancy& o) { return at(o.exposed, activity); });
    rest -= time;
    if (time.count > 0) exposed.set(name_of(activity), value_of(to_seconds(time)));
  }
  Value row = empty_object();
  row.set("compute_s", value_of(to_seconds(compute)));
  row.set("exposed_s", std::move(exposed));
  row.set("optimizer_s", value_of(to_seconds(optimizer)));
  row.set("host_s", value_of(to_seconds(host)));
  row.set("bubble_s", value_of(to_seconds(rest)));
  return row;
}

Value ranks_of(const ToldRun& run, std::size_t positions) {
  const std::vector<Occupancy> actors = occupancy(run.graph, run.timeline);
  Value rows = empty_list();
  for (std::size_t first = 0; first < actors.size(); first += positions)
    rows.items.push_back(row_of_rank(actors, first, positions, run.report.step_time));
  return rows;
}

/// The least and the most of a counter's last part in each span of the step.
struct Band {
  std::vector<double> low, high;
};

Band band_of(const Counter& counter, Time end) {
  Band band{std::vector<double>(memory_spans, -1), std::vector<double>(memory_spans, -1)};
  const auto span_at = [&](Time time) {
    return std::min(memory_spans - 1,
                    static_cast<std::size_t>(static_cast<double>(time.count) /
                                             static_cast<double>(end.count) * memory_spans));
  };
  const auto meet = [&](std::size_t span, double value) {
    band.low[span] = band.low[span] < 0 ? value : std::min(band.low[span], value);
    band.high[span] = std::max(band.high[span], value);
  };
  for (std::size_t i = 0; i < counter.samples.size(); ++i) {
    const Time until = i + 1 < counter.samples.size() ? counter.samples[i + 1].time : end;
    for (std::size_t span = span_at(counter.samples[i].time); span <= span_at(until); ++span)
      meet(span, counter.samples[i].values.back());
  }
  return band;
}

std::string packed_differences(const std::vector<double>& values) {
  Packed packed;
  std::int64_t before = 0;
  for (const double value : values) {
    const std::int64_t kilobytes = std::llround(value / 1000);
    packed.add_signed(kilobytes - before);
    before = kilobytes;
  }
  return packed.text();
}

/// Of each pipeline rank on the device that holds most; in kilobytes, each less the one before it.
Value memory_of(const ToldRun& run) {
  const std::vector<Counter> counters = counters_of(run.work, run.graph, run.timeline);
  Value ranks = empty_list();
  for (const Counter& counter : counters) {
    if (counter.actor == nothing || counter.name != "memory" || ranks.items.size() == most_memory_ranks)
      continue;
    const Band band = band_of(counter, run.timeline.makespan());
    Value row = empty_object();
    row.set("low", value_of(packed_differences(band.low)));
    row.set("high", value_of(packed_differences(band.high)));
    ranks.items.push_back(std::move(row));
  }
  if (ranks.items.empty()) return {};
  Value memory = empty_object();
  memory.set("spans", value_of(memory_spans));
  memory.set("ranks", std::move(ranks));
  return memory;
}

Value links_of(const ToldRun& run) {
  Value rows = empty_list();
  for (const LinkRow& row :
       link_use(run.work.scenario, run.graph, run.timeline, link_spans, most_link_rows)) {
    Packed use;
    for (const double share : row.use)
      use.add(static_cast<std::uint64_t>(std::lround(255 * std::min(1.0, share))));
    Value item = empty_object();
    item.set("class", value_of(at(link_class_names, row.link_class)));
    item.set("name", value_of(row.name));
    item.set("use", value_of(use.text()));
    rows.items.push_back(std::move(item));
  }
  if (rows.items.empty()) return {};
  Value links = empty_object();
  links.set("spans", value_of(link_spans));
  links.set("rows", std::move(rows));
  return links;
}

Value experts_of(const Work& work) {
  Value layers = empty_list();
  for (const LayerTokens& layer : expert_tokens(work)) {
    Packed tokens;
    for (const std::int64_t count : layer.of_experts) tokens.add(static_cast<std::uint64_t>(count));
    Value row = empty_object();
    row.set("layer", value_of(layer.layer));
    row.set("tokens", value_of(tokens.text()));
    layers.items.push_back(std::move(row));
  }
  return layers.items.empty() ? Value{} : layers;
}

}  // namespace

Value page_run(const ToldRun& run) {
  const bool has_passes = !run.work.scenario.communication;
  const PageActors actors{
      actor_names(run.work.scenario, run.graph),
      has_passes ? run.graph.actor_count / run.work.order.ranks.size() : run.graph.actor_count};
  Value value = empty_object();
  value.set("timeline", page_timeline(actors, run.graph, run.timeline, most_slices));
  if (has_passes) {
    value.set("pipeline", page_pipeline(cells_of(run.work.order, run.graph, run.timeline),
                                        page_tick(run.timeline.makespan()), most_cells));
    value.set("ranks", ranks_of(run, actors.positions));
    set_known(value, "memory", memory_of(run));
  }
  set_known(value, "links", links_of(run));
  set_known(value, "experts", experts_of(run.work));
  return value;
}

}  // namespace moesim
