#include "tests/support/drawn.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "sim/read/scenario.hpp"

namespace moesim::testing {
namespace {

template <class T>
T one_of(RandomStream& random, std::initializer_list<T> choices) {
  return choices.begin()[random.below(choices.size())];
}

/// A product of small primes around which torus, nodes and groups can be laid.
struct Machine {
  std::int64_t devices;
  std::string topology;
};

Machine draw_grid(RandomStream& random) {
  std::vector<std::int64_t> sides;
  const std::int64_t cores = one_of<std::int64_t>(random, {1, 1, 2});
  std::int64_t devices = cores;
  for (std::uint64_t i = 0; i <= random.below(3); ++i) {
    sides.push_back(one_of<std::int64_t>(random, {2, 3, 4, 4, 8}));
    if (devices * sides.back() > 64) sides.back() = 2;
    devices *= sides.back();
  }
  std::string dimensions, wrap;
  for (const std::int64_t side : sides) {
    dimensions += fmt::format("{}{}", dimensions.empty() ? "" : ", ", side);
    wrap += fmt::format("{}{}", wrap.empty() ? "" : ", ", side > 2 && random.below(3) > 0 ? 1 : 0);
  }
  return {devices, fmt::format(R"({{"kind": "torus", "dimensions": [{}], "wrap": [{}], "cores_per_chip": {},
            "link_rate": "{} GB/s"}})",
                               dimensions, wrap, cores, one_of(random, {20, 70}))};
}

Machine draw_dragonfly(RandomStream& random) {
  const std::int64_t terminals = one_of<std::int64_t>(random, {1, 2, 2}),
                     routers = one_of<std::int64_t>(random, {2, 4}),
                     global_links = one_of<std::int64_t>(random, {1, 2}),
                     groups = one_of<std::int64_t>(random, {1, 2, 3, 4, 5});
  return {terminals * routers * groups,
          fmt::format(R"({{"kind": "dragonfly", "devices_per_router": {}, "routers_per_group": {},
            "global_links_per_router": {}, "nic_rate": "{} GB/s", "local_ratio": {}, "taper": {}}})",
                      terminals, routers, global_links, one_of(random, {12, 50}), one_of(random, {1, 2}),
                      one_of(random, {1, 2}))};
}

Machine draw_nodes(RandomStream& random) {
  const std::int64_t per_node = one_of<std::int64_t>(random, {2, 4, 4, 8}),
                     nodes = one_of<std::int64_t>(random, {1, 2, 3, 4, 4, 6, 8}),
                     nics = one_of<std::int64_t>(random, {1, 2, per_node, per_node});
  const char* kind = one_of(random, {"star", "rail_fat_tree", "rail_fat_tree", "multi_plane"});
  std::string keys = fmt::format(R"("kind": "{}", "devices_per_node": {}, "nic_rate": "{} GB/s")", kind,
                                 per_node, one_of(random, {12, 50}));
  if (kind == std::string_view("star")) {
    keys += fmt::format(R"(, "inside": "{}", "inside_rate": "{} GB/s")", one_of(random, {"pcie", "nvlink"}),
                        one_of(random, {25, 300}));
  } else {
    keys +=
        fmt::format(R"(, "nics_per_node": {}, "nodes_per_pod": {}, "taper": {}, "nvlink_rate": "300 GB/s",
            "nvlink_latency": "{} us")",
                    nics, one_of(random, {1, 2, 32}), one_of(random, {1, 1, 2, 3}), one_of(random, {1, 3}));
    if (kind == std::string_view("rail_fat_tree")) {
      keys += fmt::format(R"(, "levels": {}, "cross_rail": "{}")", one_of(random, {2, 3}),
                          one_of(random, {"forward", "spine"}));
    }
  }
  return {per_node * nodes, "{" + keys + "}"};
}

Machine draw_machine(RandomStream& random) {
  switch (random.below(7)) {
    case 0:
    case 1:
      return draw_grid(random);
    case 2:
      return draw_dragonfly(random);
    case 3:
      if (random.below(2) == 0) return {8, R"({"kind": "nvswitch", "nvlink_rate": "300 GB/s"})"};
      [[fallthrough]];
    default:
      return draw_nodes(random);
  }
}

/// A divisor of `whole` of at most 8.
std::int64_t divisor(RandomStream& random, std::int64_t whole) {
  std::vector<std::int64_t> all;
  for (std::int64_t n = 1; n <= std::min<std::int64_t>(whole, 8); ++n) {
    if (whole % n == 0) all.push_back(n);
  }
  return all[random.below(all.size())];
}

std::string shuffled_placement(RandomStream& random) {
  std::vector<const char*> axes{"tensor", "context", "expert_tensor", "expert", "data", "pipeline"};
  if (random.below(2) == 0) return "[]";
  for (std::size_t i = axes.size(); i-- > 1;) std::swap(axes[i], axes[random.below(i + 1)]);
  return fmt::format(R"(["{}"])", fmt::join(axes, R"(", ")"));
}

std::string draw_collectives(RandomStream& random) {
  std::string keys;
  const auto add = [&](const char* name, const char* kind, const char* more = "") {
    keys += fmt::format(R"("{}": {{"kind": "{}"{}}}, )", name, kind, more);
  };
  const char* exchange =
      one_of(random, {"pairwise", "pairwise", "hierarchical", "nccl", "deepep", "hybrid_ep"});
  const char* hopper = R"(, "generation": "hopper")";
  const auto added = [&](const char* name, const char* kind) {
    add(name, kind, kind == std::string_view("nccl") ? hopper : "");
  };
  add("dispatch", exchange,
      exchange == std::string_view("nccl")                               ? hopper
      : exchange == std::string_view("pairwise") && random.below(2) == 0 ? R"(, "deduplicate": true)"
                                                                         : "");
  added("combine", exchange);
  const char* sum = one_of(random, {"ring", "dimension_ring", "nccl"});
  if (random.below(2) == 0) {
    added("parameters", sum);
    added("gradients", sum);
    added("tensor", one_of(random, {"ring", "nccl"}));
  }
  return fmt::format(R"({{{}"communication_sms": {}, "slowed_by_compute": {}, "shared_experts": "{}"}})",
                     keys, one_of(random, {0, 0, 8}), one_of(random, {1.0, 1.0, 1.3}),
                     one_of(random, {"in_turn", "beside"}));
}

std::string draw_schedule(RandomStream& random, std::int64_t pipeline) {
  if (pipeline == 1) return R"({"kind": "1f1b"})";
  const char* kind = one_of(random, {"1f1b", "1f1b", "gpipe", "interleaved", "zb_h1", "zb_v", "dualpipe",
                                     "dualpipev", "chimera", "sequential", "zb_h2"});
  return fmt::format(R"({{"kind": "{}"}})", kind);
}

std::string draw_sync(RandomStream& random) {
  const char* kind = one_of(random, {"all_reduce", "zero1", "zero1", "zero2", "zero3", "parameter_server"});
  std::string keys = fmt::format(R"("kind": "{}", "overlap": {})", kind, random.below(2) == 0);
  if (kind == std::string_view("parameter_server"))
    keys += fmt::format(R"(, "servers": "{}")", one_of(random, {"one", "per_node"}));
  return "{" + keys + "}";
}

/// Communication and compute slow each other, in each class of kernels by another factor.
constexpr const char* device = R"({"extends": "configs/devices/h100.json", "contention": {
    "products": [{"communication_sms": 4, "compute": 1.58, "communication": 1.1}],
    "attention": [{"communication_sms": 16, "compute": 1.2, "communication": 1.4}],
    "streaming": [{"communication_sms": 8, "compute": 1.3, "communication": 1.8}],
    "nccl": {"products": [{"communication_sms": 24, "compute": 1.4, "communication": 1.5}],
             "grouped": [{"communication_sms": 24, "compute": 1.2, "communication": 1.4}],
             "streaming": [{"communication_sms": 16, "compute": 1.3, "communication": 1.6}]}}})";

}  // namespace

std::string Drawn::text() const {
  return fmt::format(
      R"({{"model": {}, "software": {{"kind": "ideal"}},
      "cluster": {{"name": "drawn", "device": {}, "devices": {},
          "topology": {}}},
        "batch": {}, "parallelism": {}, "schedule": {}, "gradient_sync": {}, "collectives": {}, "routing": {},
        "engine": {}, "faults": {}, "resolution": "{}"}})",
      model, device, devices, topology, batch, parallelism, schedule, gradient_sync, collectives, routing,
      engine, faults, resolution);
}

Drawn draw(RandomStream random) {
  Drawn drawn;
  const Machine machine = draw_machine(random);
  drawn.devices = machine.devices;
  drawn.topology = machine.topology;
  const std::int64_t pipeline =
      std::min<std::int64_t>(4, divisor(random, machine.devices)) == 3 ? 1 : divisor(random, machine.devices);
  std::int64_t left = machine.devices / pipeline;
  const std::int64_t tensor = random.below(2) == 0 ? divisor(random, left) : 1;
  const std::int64_t context = random.below(4) == 0 ? divisor(random, left / tensor) : 1;
  const std::int64_t data = left / tensor / context;
  const std::int64_t expert_tensor = random.below(4) == 0 ? divisor(random, left) : 1;
  const std::int64_t expert = divisor(random, left / expert_tensor);
  drawn.parallelism = fmt::format(
      R"({{"pipeline": {}, "tensor": {}, "context": {}, "expert": {}, "expert_tensor": {}, "context_exchange": "{}",
          "sequence_parallel": {}, "placement": {}}})",
      pipeline, tensor, context, expert, expert_tensor, one_of(random, {"ring", "all_gather"}),
      random.below(4) > 0 || expert_tensor > 1, shuffled_placement(random));
  drawn.batch = fmt::format(R"({{"sequences": {}, "sequence_length": {}}})",
                            data * one_of<std::int64_t>(random, {2, 4, 8}) * (pipeline > 1 ? 2 : 1),
                            one_of(random, {128, 512}));
  drawn.schedule = draw_schedule(random, pipeline);
  drawn.gradient_sync = draw_sync(random);
  drawn.collectives = draw_collectives(random);
  drawn.routing = one_of(random, {R"({"kind": "balanced"})", R"({"kind": "top_k"})",
                                  R"({"kind": "top_k", "skew": {"kind": "zipf", "exponent": 0.5}})"});
  drawn.model = fmt::format(
      R"({{"name": "small", "hidden": 512, "vocabulary": 1024, "layers": {}, "moe_every": {},
          "attention": {{"kind": "grouped_query", "heads": 8, "kv_heads": 8, "head_dim": 64}},
          "feed_forward": {{"kind": "swiglu", "width": 1024}},
          "moe": {{"experts": {}, "top_k": 2, "width": 256, "shared_experts": {}}}}})",
      std::max<std::int64_t>(2, pipeline * 2), one_of(random, {1, 2}),
      expert * one_of<std::int64_t>(random, {1, 2}) * 2, one_of(random, {0, 1}));
  drawn.engine = one_of(
      random, {R"({"kind": "fluid"})", R"({"kind": "fluid"})", R"({"kind": "fluid"})", R"({"kind": "ideal"})",
               R"({"kind": "fluid", "flows": "port"})", R"({"kind": "fluid", "flows": "pair"})"});
  return drawn;
}

namespace {

/// An exchange may refuse groups that lie on nodes unevenly. Throws InputError.
void try_exchange(const Scenario& scenario) {
  const std::vector<Group> groups = scenario.layout.expert_groups();
  for (std::int64_t rank = 0; rank < scenario.layout.sizes().pipeline; ++rank) {
    for (const Group& group : groups) {
      std::vector<DeviceId> devices;
      for (const std::uint32_t position : group) devices.push_back(scenario.layout.device(rank, position));
      if (devices.size() < 2) continue;
      static_cast<void>(scenario.collectives.dispatch->plan(
          {.operation = Operation::all_to_all, .group = devices, .bytes = Bytes{1}}, scenario.fabric()));
    }
  }
}

}  // namespace

std::optional<Scenario> read_drawn(const Drawn& drawn) {
  try {
    Scenario scenario = read_scenario(load_document_text(drawn.text(), MOESIM_SOURCE "/drawn.json"));
    try_exchange(scenario);
    return scenario;
  } catch (const InputError&) {
    return std::nullopt;
  }
}

}  // namespace moesim::testing
