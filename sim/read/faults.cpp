#include "sim/read/faults.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/config/fields.hpp"
#include "models/config/quantity.hpp"

namespace moesim {
namespace {

constexpr double seconds_per_year = 365.25 * 24 * 3600;
constexpr WallClock longest_run{100 * seconds_per_year};
constexpr double most_failures = 1e7;  // of a run, to keep their simulation short

std::vector<Straggler> read_stragglers(Reader& reader, std::int64_t devices) {
  std::vector<Straggler> stragglers;
  std::vector<DeviceId> seen;
  for (Reader& item : reader.items("stragglers", "devices that compute slower: device, slowdown, from")) {
    const Straggler straggler = read_straggler(item, devices);
    if (std::find(seen.begin(), seen.end(), straggler.device) != seen.end())
      item.fail("device", fmt::format("{} is a straggler already", straggler.device));
    seen.push_back(straggler.device);
    if (straggler.slowdown > 1) stragglers.push_back(straggler);
  }
  return stragglers;
}

std::uint32_t vertex_of(const Reader& item, const Fabric& fabric, const std::string& name) {
  if (const std::optional<std::uint32_t> vertex = fabric.find_vertex(name)) return *vertex;
  std::vector<std::string> known;
  for (const Vertex& vertex : fabric.vertices()) known.push_back(vertex.name);
  const std::string near = nearest_name(name, known);
  item.fail("between",
            fmt::format("unknown '{}', expected a device or switch as `moesim topology CLUSTER --format "
                        "dot` names them{}",
                        name, near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near)));
}

std::vector<LinkFault> read_links(Reader& reader, const Fabric& fabric) {
  std::vector<LinkFault> links;
  for (Reader& item : reader.items("links", "links that have less than their rate: between, rate_left")) {
    const LinkFault fault = read_link_fault(item, fabric);
    if (fault.rate_left < 1) links.push_back(fault);
  }
  return links;
}

std::vector<WallClock> read_times(Reader& reader) {
  std::vector<WallClock> times;
  for (const std::string& text : reader.texts(
           {.name = "at", .help = "instead: times of failures from the start of the run, as [\"3600 s\"]"})) {
    const Parsed parsed = parse_time(text);
    if (!parsed.amount) reader.fail("at", fmt::format("\"{}\" {}", text, parsed.problem));
    if (!(*parsed.amount >= 0 && *parsed.amount <= longest_run.count))
      reader.fail("at", fmt::format("\"{}\" is not between 0 s and {}", text, print(longest_run)));
    times.push_back({*parsed.amount});
    if (times.size() > 1 && times.back() < times[times.size() - 2])
      reader.fail("at", fmt::format("\"{}\" is earlier than the time before it", text));
  }
  return times;
}

/// Random failures or given ones, and not so many that simulating them takes minutes.
Fit fits_failures(const Failures& failures, std::int64_t devices) {
  if ((failures.per_device_year > 0) != failures.at.empty())
    return Misfit("", "expected per_device_year above 0, or times of failures in at, and not both");
  const double expected =
      failures.per_device_year * static_cast<double>(devices) * failures.run.count / seconds_per_year;
  if (expected <= most_failures) return {};
  return Misfit("per_device_year", "comes to about {:.2g} failures of {} devices, expected at most {:.2g}",
                expected, devices, most_failures);
}

}  // namespace

Straggler read_straggler(Reader& reader, std::int64_t devices) {
  Straggler straggler;
  straggler.device = static_cast<DeviceId>(
      reader.integer({.name = "device",
                      .help = "device index; of a pipeline without a model the pipeline rank",
                      .at_least = 0,
                      .at_most = std::max<std::int64_t>(0, devices - 1)}));
  read_fields(reader, straggler,
              field(&Straggler::slowdown, {.name = "slowdown",
                                           .help = "how many times as long its compute takes",
                                           .at_least = 1.0,
                                           .at_most = 1000.0}),
              field(&Straggler::from, {.name = "from",
                                       .help = "applies to tasks that start at this time or later",
                                       .fallback = Time{},
                                       .at_least = Time{}}));
  reader.finish();
  return straggler;
}

LinkFault read_link_fault(Reader& reader, const Fabric& fabric) {
  const std::vector<std::string> names = reader.texts(
      {.name = "between", .help = "the two that it joins, as [\"gpu 0\", \"node 0 nvswitch\"]; both ways"});
  LinkFault fault;
  read_fields(reader, fault,
              field(&LinkFault::rate_left, {.name = "rate_left",
                                            .help = "share of its rate that it still has; 0: it is down",
                                            .at_least = 0.0,
                                            .at_most = 1.0}));
  reader.finish();
  if (reader.is_describing()) return fault;
  if (names.size() != 2) reader.fail("between", fmt::format("names {} ends, expected 2", names.size()));
  for (std::size_t i = 0; i < 2; ++i) fault.ends[i] = vertex_of(reader, fabric, names[i]);
  if (fabric.links_between(fault.ends[0], fault.ends[1]).empty() &&
      fabric.links_between(fault.ends[1], fault.ends[0]).empty())
    reader.fail("between", fmt::format("no link joins '{}' and '{}'", names[0], names[1]));
  return fault;
}

Jitter read_jitter(Reader& reader) {
  Jitter jitter;
  read_fields(reader, jitter,
              choice(&Jitter::kind, jitter_names,
                     {.name = "kind",
                      .help = "of the factor on each compute task: lognormal, with mean 1, or exponential, "
                              "which only delays: 1 + deviation x Exp(1)",
                      .fallback = "lognormal"}),
              field(&Jitter::deviation, {.name = "deviation",
                                         .help = "standard deviation of the factor",
                                         .fallback = 0.0,
                                         .at_least = 0.0,
                                         .at_most = 10.0}));
  reader.finish();
  return jitter;
}

Failures read_failures(Reader& reader, std::int64_t devices) {
  Failures failures;
  read_fields(reader, failures,
              field(&Failures::per_device_year,
                    {.name = "per_device_year",
                     .help = "failures that stop the run, of one device in a year, at random",
                     .fallback = 0.0,
                     .at_least = 0.0,
                     .at_most = 1e6}));
  failures.at = read_times(reader);
  read_fields(
      reader, failures,
      field(&Failures::checkpoint_interval,
            {.name = "checkpoint_interval",
             .help = "of work from one checkpoint to the next; rounded to whole steps",
             .at_least = Time{1}}),
      field(&Failures::checkpoint_cost,
            {.name = "checkpoint_cost", .help = "of each, while nothing else goes on", .at_least = Time{}}),
      field(&Failures::restart_cost, {.name = "restart_cost",
                                      .help = "from a failure until work goes on at the last checkpoint",
                                      .at_least = Time{}}),
      field(&Failures::run, {.name = "run",
                             .help = "wall clock of the run that goodput is counted over",
                             .fallback = WallClock{30.0 * 24 * 3600},
                             .at_least = to_wall_clock(Time{1}),
                             .at_most = longest_run}));
  reader.finish();
  reader.expect(fits_failures, failures, devices);
  return failures;
}

Faults read_faults(Reader reader, std::int64_t devices, const Fabric* fabric) {
  Faults faults;
  faults.seed = static_cast<std::uint64_t>(reader.integer(
      {.name = "seed", .help = "of the draws of jitter, paces and failures", .fallback = 1, .at_least = 0}));
  faults.stragglers = read_stragglers(reader, devices);
  if (fabric != nullptr) faults.links = read_links(reader, *fabric);
  if (fabric != nullptr) {
    read_fields(
        reader, faults,
        choice(&Faults::paces, device_paces_names,
               {.name = "paces",
                .help = "of devices of one kind, which differ by the device's spread: those of a "
                        "pipeline rank all as its slowest is expected to be, or each by itself, drawn "
                        "with seed",
                .fallback = "slowest"}));
  }
  if (std::optional<Reader> jitter = reader.optional_part("jitter", "times of compute tasks that vary"))
    faults.jitter = read_jitter(*jitter);
  if (std::optional<Reader> failures = reader.optional_part("failures", "devices that fail in a long run"))
    faults.failures = read_failures(*failures, devices);
  reader.finish();
  return faults;
}

Faults read_link_faults(Reader reader, const Fabric& fabric) {
  Faults faults;
  faults.links = read_links(reader, fabric);
  reader.finish();
  return faults;
}

void apply_faults(const std::vector<LinkFault>& faults, Fabric& fabric) {
  for (const LinkFault& fault : faults) {
    for (const int from : {0, 1}) {
      for (const LinkId link : fabric.links_between(fault.ends[from], fault.ends[1 - from])) {
        if (fault.rate_left > 0) {
          fabric.degrade(link, fault.rate_left);
        } else {
          fabric.take_down(link);
        }
      }
    }
  }
}

}  // namespace moesim
