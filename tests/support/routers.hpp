// Routers from JSON text.
#pragma once

#include <string>

#include "models/config/value.hpp"
#include "models/routing/router.hpp"

namespace moesim {

inline Router router_of(const std::string& json) {
  const Value value = parse_json(json, "test");
  Reader reader(value, "routing");
  return read_router(reader);
}

}  // namespace moesim
