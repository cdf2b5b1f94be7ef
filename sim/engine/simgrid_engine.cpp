// The engine "simgrid": each run in a process of its own, which loads the module.
#include <dlfcn.h>
#include <fmt/format.h>

#include <filesystem>

#include "models/base/error.hpp"
#include "sim/engine/engine.hpp"
#include "sim/engine/simgrid.hpp"

namespace moesim {

namespace {

/// Where the build puts the module: beside the program.
std::filesystem::path module_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libmoesim_simgrid.so";
}

std::uint64_t run_on_module(const TaskGraph& graph, const Spans& spans) {
  void* const module = dlopen(module_path().c_str(), RTLD_NOW | RTLD_LOCAL);
  void* const run = module == nullptr ? nullptr : dlsym(module, "moesim_run_on_simgrid");
  if (run == nullptr) throw RunError(fmt::format("the engine 'simgrid' cannot be loaded: {}", dlerror()));
  return reinterpret_cast<decltype(&moesim_run_on_simgrid)>(run)(graph, spans);
}

class SimGrid final : public Engine {
 public:
  explicit SimGrid(FlowGrain flows) : flows_(flows) {}
  Timeline run(const TaskGraph& graph) const override {
    return run_apart(graph.size(), [&](const Spans& spans) { return run_on_module(graph, spans); });
  }
  FlowGrain flows() const override { return flows_; }

 private:
  FlowGrain flows_;
};

std::unique_ptr<const Engine> make(Reader& reader) {
  const FlowGrain flows = read_flow_grain(reader);
  if (!reader.is_describing() && !std::filesystem::exists(module_path())) {
    throw MissingError("this build has no engine 'simgrid': install libsimgrid-dev and build moesim again");
  }
  return std::make_unique<SimGrid>(flows);
}

}  // namespace

extern constexpr Entry<Engine> simgrid_engine{
    "simgrid", "the same graph on SimGrid: the reference of fluid, slow where many flows are under way",
    make};

}  // namespace moesim
