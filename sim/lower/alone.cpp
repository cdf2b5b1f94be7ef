#include "sim/lower/alone.hpp"

#include <numeric>

#include "sim/lower/communicators.hpp"

namespace moesim {
namespace {

/// The phase of the report that it counts as.
Activity phase_of(Operation operation) {
  switch (operation) {
    case Operation::all_reduce:
    case Operation::reduce_scatter:
    case Operation::reduce:
      return Activity::gradient;
    case Operation::all_gather:
    case Operation::broadcast:
      return Activity::parameter;
    case Operation::all_to_all:
      return Activity::dispatch;
    case Operation::point_to_point:
      break;
  }
  return Activity::pipeline;
}

/// An all-to-all is rows of one byte, as many for each rank.
Request request_of(const OneCommunication& communication, std::span<const DeviceId> group,
                   const Fabric& fabric) {
  Request request{.operation = communication.operation, .group = group, .bytes = communication.bytes};
  if (communication.operation != Operation::all_to_all) return request;
  request.bytes = Bytes{1};
  request.rows_per_rank = static_cast<double>(communication.bytes.count) / static_cast<double>(group.size());
  request.reached_rows_per_rank = request.rows_per_rank;
  const std::uint32_t nodes = fabric.node_of(group.back()) - fabric.node_of(group.front()) + 1;
  const double on_a_node = static_cast<double>(group.size()) / static_cast<double>(nodes);
  request.reached_rows_per_node = request.rows_per_rank * on_a_node;
  return request;
}

}  // namespace

TaskGraph lower_alone(const OneCommunication& communication, const Fabric& fabric, const Detail& detail) {
  std::vector<DeviceId> devices(fabric.device_count());
  std::iota(devices.begin(), devices.end(), DeviceId{0});
  const auto size = static_cast<std::size_t>(communication.group_size);
  std::vector<Call> calls;
  for (std::size_t first = 0; first < devices.size(); first += size) {
    const std::span<const DeviceId> group = std::span(devices).subspan(first, size);
    calls.push_back({request_of(communication, group, fabric), group});
  }
  GraphBuilder builder(1);
  PatternMaker patterns(fabric, detail);
  const ActorId everybody = 0;
  const PatternId pattern = patterns.make(builder, *communication.collective, calls, {&everybody, 1});
  builder.add_coflow(pattern, {.activity = phase_of(communication.operation)});
  std::vector<Rate> rates;
  for (const Link& link : fabric.links()) rates.push_back(link.rate);
  return std::move(builder).finish(rates);
}

}  // namespace moesim
