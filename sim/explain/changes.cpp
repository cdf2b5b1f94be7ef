#include "sim/explain/changes.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <optional>
#include <span>

#include "models/base/at.hpp"
#include "models/base/text.hpp"
#include "models/config/values.hpp"
#include "sim/read/scenario.hpp"
#include "sim/read/search_bounds.hpp"

namespace moesim {
namespace {

/// Keys that are tried: patterns of their paths, of which the first that matches holds.
struct Tried {
  const char* pattern;
  std::string_view about;  ///< empty: not tried
  ChangeKind kind = ChangeKind::setting;
};
constexpr Tried tried_keys[] = {
    {"software.kind", ""},     // other software is another team's work, not a setting
    {"software.version", ""},  // older releases
    {"software.*", "software"},
    {"schedule.*", "schedule"},
    {"parallelism.layout", ""},  // other names of sizes
    {"parallelism.*", "parallelism"},
    {"gradient_sync.*", "gradients"},
    {"optimizer.offload", "memory"},
    {"offload.*", "memory"},
    {"collectives.shared_experts", "communication"},
    {"collectives.token_exchange", "communication"},
    {"routing.placement", "experts"},
    {"routing.skew.*", ""},  // how popular experts are is no choice
    {"routing.*", "experts", ChangeKind::numerics},
    {"precision.*", "precision", ChangeKind::numerics},
};

const Tried* tried(const std::string& key) {
  const auto* const found = std::find_if(std::begin(tried_keys), std::end(tried_keys), [&](const Tried& one) {
    return fnmatch(one.pattern, key.c_str(), 0) == 0;
  });
  return found == std::end(tried_keys) || found->about.empty() ? nullptr : found;
}

/// Lists of names that mean one thing each, or go together.
struct TriedList {
  std::string_view key, about;
  std::vector<std::vector<std::string>> values;
};
const std::vector<TriedList>& tried_lists() {
  static const std::vector<TriedList> lists{
      {"software.cuda_graph_scope",
       "software",
       {{}, {"attn"}, {"attn", "moe_router", "moe_preprocess"}, {"full_iteration"}}}};
  return lists;
}

constexpr std::string_view recomputed[] = {"norm", "activation", "latent", "attention", "experts", "full"};

const Value* value_at(const Value& document, std::string_view path) {
  const Value* value = &document;
  while (value != nullptr && !path.empty()) {
    const std::size_t dot = std::min(path.find('.'), path.size());
    value = value->kind == Value::Kind::object ? value->find(path.substr(0, dot)) : nullptr;
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return value;
}

/// Collects changes of one document.
class Changes {
 public:
  Changes(const Value& document, const Scenario& scenario)
      : whole_(whole_document(document)), scenario_(scenario) {
    Value with_parts = document;  // a part that is not there has keys, too
    for (const std::string_view part :
         {"schedule", "routing", "gradient_sync", "collectives", "precision", "software", "optimizer"})
      if (with_parts.find(part) == nullptr) with_parts.set(part, empty_object("explain"));
    static_cast<void>(read_scenario(Reader::noting(with_parts, keys_)));
  }

  std::vector<Change> take() {
    for (const Declaration& key : keys_) add_values(key);
    add_sizes();
    add_placements();
    add_recompute();
    for (const TriedList& list : tried_lists()) add_lists(list);
    add_hardware();
    return std::move(changes_);
  }

 private:
  /// As given, or the key's default.
  Value value_of_key(const Declaration& key) const {
    if (const Value* given = value_at(whole_, key.name)) return *given;
    return key.fallback.empty() ? Value{} : parse_json(key.fallback, "default");
  }

  void add(ChangeKind kind, std::string_view about, std::string key, Value value, std::string says = {}) {
    changes_.push_back({kind, about, {{std::move(key), std::move(value)}}, std::move(says)});
  }

  /// The other values of a key that has few.
  void add_values(const Declaration& key) {
    const Tried* rule = tried(key.name);
    if (rule == nullptr) return;
    const Value now = value_of_key(key);
    constexpr std::string_view choice = "one of ";
    if (key.type == "true or false") {
      add(rule->kind, rule->about, key.name, value_of(!now.flag, "explain"));
    } else if (key.type.starts_with(choice)) {
      for (const std::string& name : split(key.type.substr(choice.size()), ',')) {
        const std::string other = name.substr(name.find_first_not_of(' '));
        if (other != now.text) add(rule->kind, rule->about, key.name, value_of(other, "explain"));
      }
    } else if (key.name == "schedule.chunks") {
      for (const std::int64_t count : {now.integer - 1, now.integer + 1, 2 * now.integer})
        if (count > 1) add(rule->kind, rule->about, key.name, value_of(count, "explain"));
    }
  }

  /// Each size twice and half as large.
  void add_sizes() {
    const Sizes& sizes = scenario_.layout.sizes();
    for (const SizeAxis& axis : size_axes) {
      if (axis.set.empty()) continue;
      const std::int64_t now = axis.size == nullptr ? scenario_.batch.microbatch : sizes.*axis.size;
      const std::string_view about = axis.part == SizePart::batch ? "batch" : "parallelism";
      add(ChangeKind::setting, about, std::string(axis.set), value_of(2 * now, "explain"));
      if (now % 2 == 0) add(ChangeKind::setting, about, std::string(axis.set), value_of(now / 2, "explain"));
    }
  }

  /// Two neighbouring dimensions that have ranks change places.
  void add_placements() {
    std::vector<Axis> order = scenario_.layout.placement();
    for (std::size_t i = 0; i + 1 < order.size(); ++i) {
      std::vector<Axis> other = order;
      std::swap(other[i], other[i + 1]);
      std::vector<std::string> names;
      for (const Axis axis : other) names.emplace_back(at(axis_names, axis));
      add(ChangeKind::setting, "placement", "parallelism.placement", list_of(names, "explain"));
    }
  }

  /// One name more, one name less, nothing, all.
  void add_recompute() {
    const Value* given = value_at(whole_, "recompute");
    std::vector<std::string> now;
    if (given != nullptr && given->kind == Value::Kind::text) now.push_back(given->text);
    if (given != nullptr && given->kind == Value::Kind::list)
      for (const Value& name : given->items) now.push_back(name.text);
    if (given != nullptr && given->kind == Value::Kind::object) return;
    const auto is_given = [&](std::string_view name) {
      return std::find(now.begin(), now.end(), name) != now.end();
    };
    const auto add_names = [&](const std::vector<std::string>& names) {
      add(ChangeKind::setting, "memory", "recompute", list_of(names, "explain"));
    };
    if (now.size() > 1) add_names({});
    for (const std::string_view name : recomputed) {
      std::vector<std::string> names = now;
      if (is_given(name)) {
        std::erase(names, name);
      } else if (name == "full") {
        names = {std::string(name)};
      } else if (is_given("full")) {
        continue;
      } else {
        names.emplace_back(name);
      }
      add_names(names);
    }
  }

  void add_lists(const TriedList& list) {
    const auto key = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const Declaration& one) { return one.name == list.key; });
    if (key == keys_.end()) return;
    const Value now = value_of_key(*key);
    for (const std::vector<std::string>& names : list.values) {
      const Value other = list_of(names, "explain");
      if (!same(other, now)) add(ChangeKind::setting, list.about, key->name, other);
    }
  }

  /// A quantity that the scenario gives, twice.
  void add_twice(std::string_view key, std::string_view what) {
    const Value* now = value_at(whole_, key);
    if (now == nullptr || now->kind != Value::Kind::text) return;
    std::size_t digits = 0;
    double amount = 0;
    try {
      amount = std::stod(now->text, &digits);
    } catch (const std::exception&) {
      return;
    }
    const std::string twice = fmt::format("{:g}{}", 2 * amount, now->text.substr(digits));
    add(ChangeKind::what_if, "hardware", std::string(key), value_of(twice, "explain"), std::string(what));
  }

  void add_hardware() {
    add_twice("cluster.topology.nic_rate", "NICs twice as fast");
    add_twice("cluster.topology.nvlink_rate", "NVLink twice as fast");
    add_twice("cluster.topology.link_rate", "links twice as fast");
    add_twice("cluster.device.memory", "twice the memory");
    add_twice("cluster.device.memory_bandwidth", "memory twice as fast");
    add_twice("cluster.device.host_rate", "copies to the host twice as fast");
    if (scenario_.cluster->device.spread > 0)
      add(ChangeKind::what_if, "hardware", "cluster.device.spread", value_of(0, "explain"), "equal devices");
    if (value_at(whole_, "routing.skew") != nullptr)
      add(ChangeKind::what_if, "experts", "routing.skew", Value{.origin = "explain"},
          "equally popular experts");
    if (scenario_.routing_spread > 0)
      add(ChangeKind::what_if, "experts", "routing.spread", value_of(0, "explain"), "even rows");
  }

  Value whole_;
  const Scenario& scenario_;
  std::vector<Declaration> keys_;
  std::vector<Change> changes_;
};

}  // namespace

std::string Change::keys() const {
  std::vector<std::string> all;
  for (const Override& set : sets) {
    const bool is_word = set.value.kind == Value::Kind::text;
    all.push_back(fmt::format("{}={}", set.key, is_word ? set.value.text : one_line(set.value)));
  }
  return fmt::format("{}", fmt::join(all, " "));
}

std::vector<Change> changes_of(const Value& document, const Scenario& scenario) {
  return Changes(document, scenario).take();
}

}  // namespace moesim
