// Stands in for simgrid.cpp where SimGrid was not found when moesim was built.
#include "models/base/error.hpp"
#include "sim/engine/engine.hpp"

namespace moesim {

extern const Entry<Engine> simgrid_engine;

constinit const Entry<Engine> simgrid_engine{
    "simgrid", "the same graph on SimGrid: the reference of fluid, slow where many flows are under way",
    [](Reader& reader) -> std::unique_ptr<const Engine> {
      static_cast<void>(read_flow_grain(reader));
      if (reader.is_describing()) return nullptr;
      throw MissingError("this build has no engine 'simgrid': install libsimgrid-dev and build moesim again");
    }};

}  // namespace moesim
