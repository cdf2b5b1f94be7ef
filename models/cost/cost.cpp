#include "models/cost/cost.hpp"

namespace moesim {

extern const Entry<Cost> roofline_cost;
extern const Entry<Cost> calibrated_cost;

namespace {

constinit const Entry<Cost>* const members[] = {&roofline_cost, &calibrated_cost};

}  // namespace

Register<Cost> costs() { return members; }

}  // namespace moesim
