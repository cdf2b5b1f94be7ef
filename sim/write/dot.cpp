// A graph in Graphviz's language, which whoever tells it writes.
#include "sim/write/writer.hpp"

namespace moesim {

namespace {

class Dot final : public Writer {
 public:
  Dot() : Writer(Form::graph) {}
  std::string write(const Told& told) const override { return told.graph(); }
};

}  // namespace

extern constexpr Entry<Writer> dot_writer{
    "dot", "graph that Graphviz draws",
    [](Reader&) -> std::unique_ptr<const Writer> { return std::make_unique<Dot>(); }};

}  // namespace moesim
