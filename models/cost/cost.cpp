#include "models/cost/cost.hpp"

namespace moesim {

extern const Entry<Cost> roofline_cost;
extern const Entry<Cost> calibrated_cost;

namespace {

constinit const Entry<Cost>* const members[] = {&roofline_cost, &calibrated_cost};

}  // namespace

Beside beside_of(const Op& op) {
  switch (op.kind) {
    case OpKind::gemm:
      return Beside::products;
    case OpKind::grouped_gemm:
      return Beside::grouped;
    case OpKind::attention:
      return Beside::attention;
    default:
      return Beside::streaming;
  }
}

Register<Cost> costs() { return members; }

}  // namespace moesim
