#include "tests/support/keys.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/routing/skew.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/repeat.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/search/report.hpp"
#include "sim/search/search.hpp"
#include "sim/write/report.hpp"

namespace moesim::testing {
namespace {

/// Where the keys of a part or family stand in a scenario. The first that fits counts.
struct Place {
  const char* path;
  const char* name;
  bool has_kinds = false;  ///< a member of a family, or a part whose keys depend on its kind
};
constexpr Place places[] = {{"", "scenario"},
                            {"model", "model"},
                            {"model.attention", "model.attention", true},
                            {"model.feed_forward", "model.feed_forward"},
                            {"model.moe", "model.moe"},
                            {"cluster", "cluster"},
                            {"cluster.device", "device"},
                            {"cluster.device.gemm.*", "gemm"},
                            {"cluster.device.attention", "fused_attention"},
                            {"cluster.device.attention.*", "attention_pass"},
                            {"cluster.device.contention", "contention"},
                            {"cluster.device.contention.nccl", "nccl_contention"},
                            {"cluster.device.contention.*.*", "contention_point"},
                            {"cluster.device.power", "power"},
                            {"cluster.device.power.per_flop", "per_flop"},
                            {"cluster.topology", "topology", true},
                            {"batch", "batch"},
                            {"parallelism", "parallelism"},
                            {"schedule", "schedule", true},
                            {"routing", "routing", true},
                            {"routing.skew", "skew", true},
                            {"routing.coactivation", "coactivation"},
                            {"routing.drift", "drift"},
                            {"routing.drift.balancing", "balancing", true},
                            {"routing.drift.rebalance", "rebalance"},
                            {"gradient_sync", "gradient_sync", true},
                            {"collectives", "collectives"},
                            {"collectives.*", "collective", true},
                            {"communication.collective", "collective", true},
                            {"precision", "precision"},
                            {"offload", "offload"},
                            {"recompute", "recompute"},
                            {"software.ops.*.*.*", "software_kernel"},
                            {"software.ops.update", "software_update"},
                            {"software.ops.*", "software_op"},
                            {"software.access.*", "software_access"},
                            {"software", "software", true},
                            {"optimizer", "optimizer", true},
                            {"cost", "cost", true},
                            {"engine", "engine", true},
                            {"certainty", "certainty"},
                            {"faults", "faults"},
                            {"faults.stragglers.*", "straggler"},
                            {"faults.links.*", "link_fault"},
                            {"faults.jitter", "jitter"},
                            {"faults.failures", "failures"},
                            {"budget", "budget"},
                            {"search", "search"},
                            {"pipeline", "pipeline"},
                            {"communication", "communication"}};

bool fits(const char* pattern, const std::string& path) { return fnmatch(pattern, path.c_str(), 0) == 0; }

Value text_of(std::string text) { return {.kind = Value::Kind::text, .text = std::move(text)}; }

std::vector<Value> far_numbers(double now, bool is_whole) {
  std::vector<Value> values;
  const auto add = [&](double number) {
    if (number == now) return;
    values.push_back(is_whole ? parse_json(fmt::format("{:.0f}", number), "far off")
                              : parse_json(fmt::format("{}", number), "far off"));
  };
  if (is_whole) {
    for (const double number : {4 * now, 2 * now, now / 2, now + 1, now - 1, now + 2, 0.0, 4.0, 1.0, 64.0})
      add(std::floor(number));
  } else {
    for (const double number : {4 * now, now / 4, now / 2, 0.5, 0.1, 0.0, 1.0, 2.0, 100.0}) add(number);
  }
  return values;
}

/// "2 us": the same unit, another number; where it is zero, amounts of any size.
std::vector<Value> far_quantities(const std::string& now, const std::string& type) {
  const std::size_t end = now.find_first_not_of("0123456789.e+-");
  const double number = now.empty() ? 0 : std::stod(now);
  std::vector<Value> values;
  if (number > 0) {
    for (const double factor : {4.0, 0.25, 2.0, 0.5, 64.0, 1.0 / 64, 1e4, 1e-4})
      values.push_back(text_of(fmt::format("{}{}", number * factor, now.substr(end))));
    return values;
  }
  for (const char* amount : {"1 us", "100 us", "1 ms", "1 s"})
    if (type == "a time") values.push_back(text_of(amount));
  for (const char* amount : {"1 kB", "2 MB", "1 GB", "0.1 GB"})
    if (type == "a size") values.push_back(text_of(amount));
  if (type == "a power") values.push_back(text_of("200 W"));
  if (type == "an energy") values.push_back(text_of("10 pJ"));
  return values;
}

std::vector<Value> other_names(const std::string& type, const std::string& now) {
  std::vector<Value> values;
  std::size_t begin = std::string("one of ").size();
  while (begin < type.size()) {
    const std::size_t end = std::min(type.find(", ", begin), type.size());
    if (const std::string name = type.substr(begin, end - begin); name != now)
      values.push_back(text_of(name));
    begin = end + 2;
  }
  return values;
}

/// Without the members that repeat what was given or take wall time.
void drop(Value& report, std::string_view name) {
  std::erase_if(report.members, [&](const auto& member) { return member.first == name; });
}

std::string facts(Value report) {
  for (const std::string_view name : {"about", "plan", "scenario", "estimate_s", "simulate_s"})
    drop(report, name);
  if (Value* engine = report.find("engine")) {
    drop(*engine, "wall_s");
    drop(*engine, "kind");
  }
  return write_json(report);
}

std::string outcome(const std::string& path, const std::vector<Override>& overrides) {
  const Value document = load_document(path, overrides);
  if (document.find("search") != nullptr)
    return facts(search_value(search({.path = path, .overrides = overrides, .simulate = 4}).result));
  return facts(report_value(run({.path = path, .overrides = overrides}).simulation.report));
}

template <class Interface>
void add_family(std::vector<DescribedKeys>& all, const std::string& name, Register<Interface> entries) {
  for (const Entry<Interface>* entry : entries)
    all.push_back({fmt::format("{}.{}", name, entry->name), describe_member(*entry)});
}

}  // namespace

ReadScenario read_keys(const std::string& path, const std::vector<Override>& overrides) {
  ReadScenario read{load_document(path, overrides), {}};
  static_cast<void>(read_scenario(Reader::noting(read.document, read.keys)));
  return read;
}

const Value* value_at(const Value& document, std::string_view path) {
  const Value* value = &document;
  while (value != nullptr && !path.empty()) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    const std::string step(path.substr(0, dot));
    if (value->kind == Value::Kind::list) {
      const auto index = static_cast<std::size_t>(std::stoul(step));
      value = index < value->items.size() ? &value->items[index] : nullptr;
    } else {
      value = value->find(step);
    }
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return value;
}

Value current_value(const ReadScenario& scenario, const Declaration& key) {
  if (const Value* given = value_at(scenario.document, key.name)) return *given;
  return key.fallback.empty() ? Value{} : parse_json(key.fallback, "default");
}

std::string kind_at(const ReadScenario& scenario, const std::string& path) {
  const std::string name = path.empty() ? "kind" : path + ".kind";
  for (const Declaration& key : scenario.keys)
    if (key.name == name) return current_value(scenario, key).text;
  return {};
}

std::vector<Value> far_off(const ReadScenario& scenario, const Declaration& key) {
  const Value now = current_value(scenario, key);
  if (key.type == "a whole number" || key.type == "a number")
    return far_numbers(now.number, key.type == "a whole number");
  if (key.type == "true or false") return {{.kind = Value::Kind::boolean, .flag = !now.flag}};
  if (key.type.starts_with("one of ")) return other_names(key.type, now.text);
  for (const char* quantity : {"a time", "a size", "a rate", "a compute rate", "a power", "an energy"})
    if (key.type == quantity) return far_quantities(now.text, key.type);
  return {};
}

Verdict verdict_of(const std::string& path, const std::vector<Override>& overrides) {
  try {
    return {.is_refused = false, .text = outcome(path, overrides)};
  } catch (const RunError& error) {
    return {.is_refused = false, .text = error.what()};
  } catch (const std::exception& error) {  // wrong input, or an engine that is not built here
    return {.is_refused = true, .text = error.what()};
  }
}

std::string described_name(const ReadScenario& scenario, const std::string& path) {
  const auto* const place =
      std::find_if(std::begin(places), std::end(places), [&](const Place& p) { return fits(p.path, path); });
  if (place == std::end(places)) return {};
  if (path == "cost" && scenario.document.find("pipeline") != nullptr) return "fixed_cost";
  if (!place->has_kinds) return place->name;
  const std::string kind = kind_at(scenario, path);
  return path == "model.attention" ? fmt::format("{} ({})", place->name, kind)
                                   : fmt::format("{}.{}", place->name, kind);
}

std::vector<DescribedKeys> described_keys() {
  std::vector<DescribedKeys> all;
  for (DescribedPart& part : describe_scenario()) all.push_back({std::move(part.name), std::move(part.keys)});
  add_family(all, "schedule", schedules());
  add_family(all, "topology", topologies());
  add_family(all, "routing", routings());
  add_family(all, "skew", skews());
  add_family(all, "balancing", balancings());
  add_family(all, "gradient_sync", gradient_syncs());
  add_family(all, "collective", collectives());
  add_family(all, "software", softwares());
  add_family(all, "optimizer", optimizers());
  add_family(all, "cost", costs());
  add_family(all, "engine", engines());
  return all;
}

}  // namespace moesim::testing
