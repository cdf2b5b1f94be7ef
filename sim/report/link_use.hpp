// How busy links are over the time of a step, in rows of links that lie together.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// While the bytes of a communication go over links: from the first byte to the end.
struct BytesUnderWay {
  Time start, end;
};
BytesUnderWay bytes_under_way(const TaskGraph& graph, const Timeline& timeline, TaskId coflow);

/// Some links of one class.
struct LinkRow {
  LinkClass link_class = LinkClass::nvlink;
  std::string name;         ///< "nodes 0 to 7", or "links 0 to 63" where no node has them
  std::vector<double> use;  ///< by span of the step: bytes over what the links can carry in it
};

/// Links of each class by blocks of nodes, at most `most_rows` of a class, over so many equal spans of the
/// step. Each communication counts at its mean rate. Nothing without a cluster.
std::vector<LinkRow> link_use(const Scenario& scenario, const TaskGraph& graph, const Timeline& timeline,
                              std::size_t spans, std::size_t most_rows);

}  // namespace moesim
