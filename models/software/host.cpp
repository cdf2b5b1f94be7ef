#include "models/software/host.hpp"

#include "models/config/fields.hpp"

namespace moesim {
namespace {

/// What is launched at once.
enum class CudaGraphs : std::uint8_t { none, layer, iteration };
constexpr std::string_view graph_names[] = {"none", "layer", "iteration"};

HostTimes with_graphs(HostTimes host, CudaGraphs graphs) {
  if (graphs == CudaGraphs::none) return host;
  if (graphs == CudaGraphs::iteration) return of_one_graph(host);
  host.forward = host.backward = graph_kernel;
  host.block = graph_launch;
  host.weight = {};  // autograd's calls are inside the graph
  host.captures = true;
  return host;
}

/// The times of a host that takes so many times as long for all that it does.
HostTimes at_pace(HostTimes host, double pace) {
  using Host = HostTimes;
  for (Time Host::*time : {&Host::forward, &Host::backward, &Host::update, &Host::call, &Host::part,
                           &Host::unit, &Host::weight, &Host::node, &Host::start, &Host::wait})
    host.*time = scaled(host.*time, pace);
  return host;
}

HostTimes read_times(Reader& reader, const HostTimes& usual) {
  using Host = HostTimes;
  HostTimes host{.part = usual.part, .node = usual.node};
  const Time none;
  read_fields(
      reader, host,
      field(&Host::forward, {.name = "host_forward",
                             .help = "of the host for a launch in a forward; a kernel runs when it has been "
                                     "launched and what is before it has ended",
                             .fallback = usual.forward,
                             .at_least = none}),
      field(&Host::backward, {.name = "host_backward",
                              .help = "of the host for a launch in a backward",
                              .fallback = usual.backward,
                              .at_least = none}),
      field(&Host::update, {.name = "host_update",
                            .help = "of the host for a launch in the update",
                            .fallback = usual.update,
                            .at_least = none}),
      field(&Host::call, {.name = "host_call",
                          .help = "of the host for a communication inside a layer",
                          .fallback = usual.call,
                          .at_least = none}),
      field(&Host::unit, {.name = "host_unit",
                          .help = "of the host for a unit of fsdp2 in a pass, beside its launches",
                          .fallback = usual.unit,
                          .at_least = none}),
      field(&Host::weight, {.name = "host_weight",
                            .help = "of the host for a weight whose gradient is computed in a pass of its "
                                    "own, beside its launches",
                            .fallback = usual.weight,
                            .at_least = none}),
      field(&Host::start, {.name = "host_start",
                           .help = "of the host before the first launch of a step",
                           .fallback = usual.start,
                           .at_least = none}),
      field(&Host::wait, {.name = "host_wait",
                          .help = "of the host to read a result, once the device has it",
                          .fallback = usual.wait,
                          .at_least = none}));
  return host;
}

}  // namespace

HostTimes of_one_graph(const HostTimes& host) {
  return {.start = host.start + graph_launch, .captures = true};
}

HostTimes read_host_times(Reader& reader, const HostTimes& usual) {
  HostTimes host = read_times(reader, usual);
  const double pace = reader.number(
      {.name = "host_pace",
       .help =
           "of this host's time, over that of the host that all of these were measured on (0.45: x86 of a "
           "DGX H100; 1.24: Grace of a GB200, by NVIDIA/TransformerEngine, issue 2053)",
       .fallback = 1.0,
       .at_least = 0.01,
       .at_most = 100.0});
  return at_pace(host, pace);
}

HostTimes read_host(Reader& reader, const HostTimes& usual) {
  const HostTimes host = read_host_times(reader, usual);
  const std::size_t graphs = reader.choice(
      {.name = "cuda_graphs",
       .help = "what the host launches at once: nothing, the kernels of a block, or the whole iteration",
       .fallback = "none"},
      graph_names);
  return with_graphs(host, static_cast<CudaGraphs>(graphs));
}

}  // namespace moesim
