#include <fmt/format.h>

#include "models/base/at.hpp"
#include "sim/graph/task_graph.hpp"

namespace moesim {

std::string describe(const TaskGraph& graph, TaskId task) {
  const Tag& tag = graph.tags[task];
  std::string words = fmt::format("task {}: {}", task, name_of(tag.activity));
  if (tag.pass != PassKind::none) words += fmt::format(" {}", at(pass_names, tag.pass));
  if (tag.pipeline_rank >= 0) words += fmt::format(", pipeline rank {}", tag.pipeline_rank);
  if (tag.microbatch >= 0) words += fmt::format(", microbatch {}", tag.microbatch);
  if (tag.chunk >= 0) words += fmt::format(", chunk {}", tag.chunk);
  if (tag.layer >= 0) words += fmt::format(", layer {}", tag.layer);
  return words;
}

}  // namespace moesim
