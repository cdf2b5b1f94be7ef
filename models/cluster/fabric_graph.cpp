// What graph theory says of a fabric: its narrowest cut and whether it is connected.
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/push_relabel_max_flow.hpp>
#include <boost/graph/strong_components.hpp>
#include <cmath>
#include <vector>

#include "models/cluster/fabric.hpp"

namespace moesim {
namespace {

using Traits = boost::adjacency_list_traits<boost::vecS, boost::vecS, boost::directedS>;
using FlowGraph = boost::adjacency_list<
    boost::vecS, boost::vecS, boost::directedS, boost::no_property,
    boost::property<boost::edge_capacity_t, std::int64_t,
                    boost::property<boost::edge_residual_capacity_t, std::int64_t,
                                    boost::property<boost::edge_reverse_t, Traits::edge_descriptor>>>>;

/// An edge and the reverse one of no capacity that the algorithm pushes flow back on.
void add_pipe(FlowGraph& graph, std::size_t from, std::size_t to, std::int64_t capacity) {
  const auto forward = boost::add_edge(from, to, graph).first;
  const auto backward = boost::add_edge(to, from, graph).first;
  boost::put(boost::edge_capacity, graph, forward, capacity);
  boost::put(boost::edge_capacity, graph, backward, 0);
  boost::put(boost::edge_reverse, graph, forward, backward);
  boost::put(boost::edge_reverse, graph, backward, forward);
}

/// Whole bytes per second: maximum flow is exact in integers, not in floating point.
std::int64_t capacity_of(const Link& link) { return std::llround(link.rate.count); }

}  // namespace

Rate Fabric::bisection_bandwidth() const {
  const std::uint32_t half = wiring_.devices / 2;
  const std::size_t source = wiring_.vertices.size();
  const std::size_t sink = source + 1;
  FlowGraph graph(sink + 1);
  std::vector<std::int64_t> sends(wiring_.devices), receives(wiring_.devices);
  for (const Link& link : wiring_.links) {
    add_pipe(graph, link.from, link.to, capacity_of(link));
    if (link.from < wiring_.devices) sends[link.from] += capacity_of(link);
    if (link.to < wiring_.devices) receives[link.to] += capacity_of(link);
  }
  for (DeviceId device = 0; device < half; ++device) add_pipe(graph, source, device, sends[device]);
  for (DeviceId device = half; device < wiring_.devices; ++device)
    add_pipe(graph, device, sink, receives[device]);
  return Rate{static_cast<double>(boost::push_relabel_max_flow(graph, source, sink))};
}

bool Fabric::is_connected() const {
  boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS> graph(wiring_.vertices.size());
  for (const Link& link : wiring_.links) boost::add_edge(link.from, link.to, graph);
  std::vector<std::size_t> component(wiring_.vertices.size());
  boost::strong_components(
      graph, boost::make_iterator_property_map(component.begin(), get(boost::vertex_index, graph)));
  for (DeviceId device = 1; device < wiring_.devices; ++device) {
    if (component[device] != component[0]) return false;
  }
  return true;
}

}  // namespace moesim
