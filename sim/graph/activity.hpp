// What a task is for, and what is true of it whatever the scenario. A new communication inside a layer is a
// row of this table; lowering, the estimate, reports and traces read it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "models/base/at.hpp"

namespace moesim {

/// What a task is for.
enum class Activity : std::uint8_t {
  none,
  whole_pass,  // of a scenario that gives durations of passes
  embedding,
  head,
  attention,
  feed_forward,
  optimizer,  // compute
  dispatch,
  combine,
  dispatch_backward,
  combine_backward,
  pipeline,
  tensor,
  context,
  expert_tensor,
  gradient,
  parameter,  // communication
  host,       // launches
  copy,       // compute: around gradients and parameters on their way
  offload,
  reload,  // copies of activations to the host's memory and back
};
inline constexpr std::size_t activity_count = 21;

/// What goes on beside each other on a device.
enum class Stream : std::uint8_t {
  compute,
  exchange,  ///< communication inside layers
  pipeline,
  gradients,
  host,    ///< what the host does to issue all that
  copies,  ///< between a device and its host's memory, each way by itself
};

/// Which groups a communication is for.
enum class Scope : std::uint8_t {
  expert,         ///< exchange of tokens
  tensor,         ///< activations of shared matrices
  data,           ///< gradients and parameters of what every rank holds
  expert_data,    ///< gradients and parameters of experts
  context,        ///< keys and values of shared sequences
  expert_tensor,  ///< rows of experts whose matrices are shared
  embedding,      ///< gradients of the embedding's copies on the first and the last pipeline rank
  shard,          ///< of the ranks of `data`, those over which all is sharded, where these are not all
  expert_shard,   ///< the same of `expert_data`
  replica,        ///< of the ranks of `data`, those that hold the same shard
  expert_replica  ///< the same of `expert_data`
};
inline constexpr std::array<std::string_view, 11> scope_names{
    "expert",    "tensor", "data",         "expert_data", "context",       "expert_tensor",
    "embedding", "shard",  "expert_shard", "replica",     "expert_replica"};
inline constexpr std::size_t scope_count = scope_names.size();

/// Which way tokens go between their ranks and those of their experts, or their gradients.
enum class Direction : std::uint8_t { none, outward, homeward };

struct ActivityTraits {
  std::string_view name;  ///< in reports and traces
  Stream stream = Stream::compute;
  std::optional<Scope> scope{};  ///< of a communication inside a layer
  Direction direction = Direction::none;
};

/// By Activity.
inline constexpr std::array<ActivityTraits, activity_count> activities{{
    {"none"},
    {"pass"},
    {"embedding"},
    {"head"},
    {"attention"},
    {"feed_forward"},
    {"optimizer"},
    {"dispatch", Stream::exchange, Scope::expert, Direction::outward},
    {"combine", Stream::exchange, Scope::expert, Direction::homeward},
    {"dispatch_backward", Stream::exchange, Scope::expert, Direction::homeward},
    {"combine_backward", Stream::exchange, Scope::expert, Direction::outward},
    {"pipeline", Stream::pipeline},
    {"tensor", Stream::exchange, Scope::tensor},
    {"context", Stream::exchange, Scope::context},
    {"expert_tensor", Stream::exchange, Scope::expert_tensor},
    {"gradient", Stream::gradients},
    {"parameter", Stream::gradients},
    {"host", Stream::host},
    {"copy"},
    {"offload", Stream::copies},
    {"reload", Stream::copies},
}};

constexpr std::string_view name_of(Activity activity) { return at(activities, activity).name; }
constexpr Stream stream_of(Activity activity) { return at(activities, activity).stream; }
constexpr bool is_communication(Activity activity) {
  return stream_of(activity) != Stream::compute && stream_of(activity) != Stream::host;
}
/// Of a communication inside a layer: the groups that it is for.
constexpr Scope scope_of(Activity call) { return *at(activities, call).scope; }
/// Whether a communication takes tokens to experts or back, or their gradients.
constexpr bool is_exchange(Activity activity) {
  return at(activities, activity).direction != Direction::none;
}
/// Whether an exchange goes to the experts; else it comes from them.
constexpr bool is_outward(Activity exchange) {
  return at(activities, exchange).direction == Direction::outward;
}

/// Those of which something holds, in their order.
template <bool (*holds)(Activity)>
constexpr auto activities_that() {
  constexpr auto all = [] {
    std::array<Activity, activity_count> every{};
    for (std::size_t i = 0; i < activity_count; ++i) every[i] = static_cast<Activity>(i);
    return every;
  }();
  std::array<Activity, std::count_if(all.begin(), all.end(), holds)> some{};
  std::copy_if(all.begin(), all.end(), some.begin(), holds);
  return some;
}

/// All communication.
inline constexpr auto communications = activities_that<is_communication>();

}  // namespace moesim
