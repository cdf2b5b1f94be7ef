// The fabric as a drawing for Graphviz: a box a node, a line a cable with its class and rate.
#include <fmt/format.h>

#include <iterator>

#include "models/base/at.hpp"
#include "models/cluster/fabric.hpp"

namespace moesim {
namespace {

/// Both directions of a cable stand next to each other and are drawn as one line where they are alike.
bool is_way_back(const Link& there, const Link& back) {
  return there.from == back.to && there.to == back.from && there.link_class == back.link_class &&
         there.rate == back.rate;
}

void write_vertices(const Wiring& wiring, std::string& text) {
  const auto out = std::back_inserter(text);
  const std::uint32_t nodes = wiring.devices / wiring.devices_per_node;
  std::vector<std::string> inside(nodes);
  for (std::size_t i = 0; i < wiring.vertices.size(); ++i) {
    const Vertex& vertex = wiring.vertices[i];
    const std::string_view shape = i < wiring.devices ? "box" : "ellipse";
    const std::string line = fmt::format("{} [label=\"{}\", shape={}];\n", i, vertex.name, shape);
    if (vertex.node < nodes) {
      inside[vertex.node] += "    " + line;
    } else {
      text += "  " + line;
    }
  }
  for (std::uint32_t node = 0; node < nodes; ++node) {
    fmt::format_to(out, "  subgraph cluster_{0} {{\n    label=\"node {0}\";\n{1}  }}\n", node, inside[node]);
  }
}

void write_links(const Wiring& wiring, std::string& text) {
  const auto out = std::back_inserter(text);
  for (std::size_t i = 0; i < wiring.links.size(); ++i) {
    const Link& link = wiring.links[i];
    const bool both = i + 1 < wiring.links.size() && is_way_back(link, wiring.links[i + 1]);
    fmt::format_to(out, "  {} -> {} [label=\"{} {}\"{}];\n", link.from, link.to,
                   at(link_class_names, link.link_class), print(link.rate), both ? ", dir=both" : "");
    if (both) ++i;
  }
}

}  // namespace

std::string Fabric::dot() const {
  std::string text = "digraph fabric {\n  rankdir=BT;\n  node [fontname=\"sans-serif\"];\n";
  write_vertices(wiring_, text);
  write_links(wiring_, text);
  return text + "}\n";
}

}  // namespace moesim
