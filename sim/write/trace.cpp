// Chrome's Trace Event Format (Google, "Trace Event Format", 2016): complete events "X", counters "C",
// metadata events "M".
#include "sim/write/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <span>
#include <tuple>
#include <utility>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/config/values.hpp"
#include "sim/report/report.hpp"
#include "sim/write/slices.hpp"
#include "sim/write/writer.hpp"

namespace moesim {
namespace {

/// Lanes of one stream, at most; beyond them numbers of threads would meet.
constexpr std::uint32_t lanes_of_stream = 1'000'000;

/// Writes events into one string.
class TraceWriter {
 public:
  TraceWriter(const TaskGraph& graph, const Pairs& pairs, std::size_t slices) : graph_(graph), pairs_(pairs) {
    text_.reserve(slices * 240 + 1024);
    text_ = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[";
  }

  void name_process(ActorId actor, std::string_view name) {
    metadata(actor, 0, "process_name", fmt::format("\"name\":\"{}\"", name));
    metadata(actor, 0, "process_sort_index", fmt::format("\"sort_index\":{}", actor));
  }

  void name_lane(ActorId actor, Stream stream, std::uint32_t lane) {
    const std::uint64_t thread = thread_of(stream, lane);
    const std::string_view name = at(stream_names, stream);
    metadata(
        actor, thread, "thread_name",
        lane == 0 ? fmt::format("\"name\":\"{}\"", name) : fmt::format("\"name\":\"{} {}\"", name, lane + 1));
    metadata(actor, thread, "thread_sort_index", fmt::format("\"sort_index\":{}", thread));
  }

  void slice(const Slice& slice) {
    const Tag& tag = graph_.tags[slice.task];
    const std::string_view activity = name_of(tag.activity);
    next();
    write("{{\"ph\":\"X\",\"pid\":{},\"tid\":{},\"ts\":", slice.actor + 1,
          thread_of(slice.stream, slice.lane));
    microseconds(slice.start);
    write(",\"dur\":");
    microseconds(slice.end - slice.start);
    write(",\"cat\":\"{}\",\"name\":\"", activity);
    name(tag, activity);
    write("\",\"args\":{{");
    arguments(slice.task);
    write("}}}}");
  }

  void counter(const Counter& counter) {
    const ActorId process = counter.actor == nothing ? graph_.actor_count : counter.actor;
    std::string last;
    for (const Sample& sample : counter.samples) {
      const std::string values = values_of(counter, sample);
      if (values == std::exchange(last, values)) continue;
      next();
      write("{{\"ph\":\"C\",\"pid\":{},\"name\":\"{}\",\"ts\":", process + 1, counter.name);
      microseconds(sample.time);
      write(",\"args\":{{{}}}}}", values);
    }
  }

  std::string finish(const std::string& title) && {
    const Value words = value_of(title);
    write("\n],\"otherData\":{{\"title\":{}}}}}\n", one_line(words));
    return std::move(text_);
  }

 private:
  /// Threads are numbered so that no lane has its process' number, which would mark it as the main thread.
  static std::uint64_t thread_of(Stream stream, std::uint32_t lane) {
    return (static_cast<std::uint64_t>(stream) + 1) * lanes_of_stream + lane;
  }

  template <class... Arguments>
  void write(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Arguments>(arguments)...);
  }

  void next() {
    text_ += is_first_ ? "\n" : ",\n";
    is_first_ = false;
  }

  void metadata(ActorId actor, std::uint64_t thread, std::string_view name, const std::string& argument) {
    next();
    write("{{\"ph\":\"M\",\"pid\":{},\"tid\":{},\"name\":\"{}\",\"args\":{{{}}}}}", actor + 1, thread, name,
          argument);
  }

  /// To a ten-thousandth.
  static std::string values_of(const Counter& counter, const Sample& sample) {
    std::string text;
    for (std::size_t part = 0; part < counter.parts.size(); ++part) {
      const double rounded = std::round(sample.values[part] * 1e4) / 1e4;
      text += fmt::format("{}\"{}\":{}", part == 0 ? "" : ",", counter.parts[part], rounded);
    }
    return text;
  }

  void microseconds(Time time) { write("{}.{:06}", time.count / 1'000'000, time.count % 1'000'000); }

  /// "F12 attention": short enough for a narrow slice; viewers colour by the name without its digits.
  void name(const Tag& tag, std::string_view activity) {
    static constexpr std::array<std::string_view, pass_names.size()> letters{"", "F", "B", "W", "BW"};
    if (tag.pass == PassKind::none) return write("{}", activity);
    write("{}", at(letters, tag.pass));
    if (tag.microbatch >= 0) write("{}", tag.microbatch);
    if (tag.activity != Activity::whole_pass) {
      write(" {}", activity);
    } else if (const Slot* beside = beside_of(tag)) {
      write(" with {}{}", at(pass_letters, beside->pass), beside->microbatch);
    }
  }

  /// The other half of the tag's pair, if it is of one.
  const Slot* beside_of(const Tag& tag) const {
    if (!tag.overlapped) return nullptr;
    const auto found =
        pairs_.find({tag.pipeline_rank, tag.chunk, tag.microbatch, tag.pass == PassKind::forward});
    return found == pairs_.end() ? nullptr : &found->second;
  }

  void arguments(TaskId task) {
    const Tag& tag = graph_.tags[task];
    const char* comma = "";
    const auto number = [&](std::string_view key, std::int64_t value) {
      write("{}\"{}\":{}", std::exchange(comma, ","), key, value);
    };
    if (tag.pipeline_rank >= 0) number("stage", tag.pipeline_rank);
    if (tag.microbatch >= 0) number("microbatch", tag.microbatch);
    if (tag.chunk >= 0) number("chunk", tag.chunk);
    if (tag.layer >= 0) number("layer", tag.layer);
    if (tag.pass != PassKind::none)
      write("{}\"pass\":\"{}\"", std::exchange(comma, ","), at(pass_names, tag.pass));
    if (tag.overlapped) write("{}\"overlapped\":true", std::exchange(comma, ","));
    if (const Slot* beside = beside_of(tag))
      write(",\"beside\":{{\"pass\":\"{}\",\"microbatch\":{},\"chunk\":{}}}",
            at(pass_names, beside->pass == Pass::forward ? PassKind::forward : PassKind::backward),
            beside->microbatch, beside->chunk);
    if (graph_.kinds[task] == TaskKind::coflow && tag.activity != Activity::host)
      number("bytes", graph_.pattern_table[graph_.patterns[task]].bytes_sent);
  }

  const TaskGraph& graph_;
  const Pairs& pairs_;
  std::string text_;
  bool is_first_ = true;
};

/// Slices, each lane named where it is first met.
void write_slices(const std::vector<Slice>& slices, TraceWriter& writer) {
  std::uint32_t lanes = 0;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const Slice& slice = slices[i];
    if (i == 0 || slices[i - 1].actor != slice.actor || slices[i - 1].stream != slice.stream) lanes = 0;
    if (slice.lane == lanes) writer.name_lane(slice.actor, slice.stream, lanes++);
    writer.slice(slice);
  }
}

/// Classes that are no ranks of an expert group go by their first device.
std::vector<std::string> names_of_classes(const Scenario& scenario,
                                          const std::vector<std::uint32_t>& representatives) {
  const std::uint32_t classes = *std::max_element(representatives.begin(), representatives.end()) + 1;
  std::vector<std::string> names;
  for (std::int64_t rank = 0; rank < scenario.layout.sizes().pipeline; ++rank) {
    for (std::uint32_t representative = 0; representative < classes; ++representative) {
      const auto first = std::find(representatives.begin(), representatives.end(), representative);
      const auto count = std::count(first, representatives.end(), representative);
      const auto position = static_cast<std::uint32_t>(first - representatives.begin());
      names.push_back(fmt::format("device {}{}: pipeline rank {}", scenario.layout.device(rank, position),
                                  count > 1 ? fmt::format(" and {} alike", count - 1) : "", rank));
    }
  }
  return names;
}

/// Whether each actor stands for one rank of all expert groups.
bool are_expert_ranks(const Scenario& scenario, const std::vector<std::uint32_t>& representatives) {
  for (const Group& group : scenario.layout.expert_groups()) {
    for (std::uint32_t rank = 0; rank < group.size(); ++rank) {
      if (representatives[group[rank]] != rank) return false;
    }
  }
  return true;
}

Pairs pairs_of(const Order& order) {
  Pairs pairs;
  for (std::size_t r = 0; r < order.ranks.size(); ++r) {
    const std::vector<Slot>& slots = order.ranks[r];
    for (std::size_t i = 0; i + 1 < slots.size(); ++i) {
      if (!slots[i].overlapped) continue;
      const Slot &forward = slots[i], &backward = slots[i + 1];
      pairs[{r, forward.chunk, forward.microbatch, true}] = backward;
      pairs[{r, backward.chunk, backward.microbatch, false}] = forward;
    }
  }
  return pairs;
}

}  // namespace

std::vector<std::string> actor_names(const Scenario& scenario, const TaskGraph& graph) {
  const std::size_t positions =
      graph.actor_count / static_cast<std::size_t>(scenario.layout.sizes().pipeline);
  const bool are_ranks = positions > 1 && are_expert_ranks(scenario, graph.representatives);
  if (positions > 1 && !are_ranks) return names_of_classes(scenario, graph.representatives);
  const std::int64_t devices = scenario.layout.sizes().stage_devices();
  const std::int64_t stands_for = devices / static_cast<std::int64_t>(positions);
  std::vector<std::string> names;
  for (std::size_t actor = 0; actor < graph.actor_count; ++actor) {
    const auto rank = static_cast<std::int64_t>(actor / positions);
    std::string name = fmt::format("pipeline rank {}", rank);
    if (positions > 1 && stands_for > 1) name += fmt::format(", expert rank {}", actor % positions);
    if (stands_for > 1) name += fmt::format(" ({} devices)", stands_for);
    if (positions > 1 && stands_for == 1) {
      const auto position = static_cast<std::uint32_t>(actor % positions);
      name = fmt::format("device {}: {}", scenario.layout.device(rank, position), name);
    }
    names.push_back(std::move(name));
  }
  return names;
}

Tracks tracks_of(const Work& work, const TaskGraph& graph, const Timeline& timeline) {
  return {actor_names(work.scenario, graph), counters_of(work, graph, timeline), pairs_of(work.order)};
}

std::string write_trace(const std::string& title, const Tracks& tracks, const TaskGraph& graph,
                        const Timeline& timeline) {
  ensure(tracks.actors.size() == graph.actor_count, "every actor has a name");
  const std::vector<Slice> slices = slices_of(graph, timeline);
  TraceWriter writer(graph, tracks.pairs, slices.size());
  for (ActorId actor = 0; actor < tracks.actors.size(); ++actor)
    writer.name_process(actor, tracks.actors[actor]);
  write_slices(slices, writer);
  const bool has_links = std::any_of(tracks.counters.begin(), tracks.counters.end(),
                                     [](const Counter& counter) { return counter.actor == nothing; });
  if (has_links) writer.name_process(graph.actor_count, "links");
  for (const Counter& counter : tracks.counters) writer.counter(counter);
  return std::move(writer).finish(title);
}

namespace {

class Trace final : public Writer {
 public:
  Trace() : Writer(Form::run) {}
  std::string write(const Told& told) const override {
    const ToldRun run = told.run();
    const Report& report = run.report;
    const std::string title = report.title.empty() ? report.plan : report.title + ": " + report.plan;
    return write_trace(title, tracks_of(run.work, run.graph, run.timeline), run.graph, run.timeline);
  }
};

}  // namespace

extern constexpr Entry<Writer> trace_writer{
    "trace", "Chrome trace, which Perfetto opens",
    [](Reader&) -> std::unique_ptr<const Writer> { return std::make_unique<Trace>(); }};

}  // namespace moesim
