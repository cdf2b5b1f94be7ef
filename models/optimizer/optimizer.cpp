#include "models/optimizer/optimizer.hpp"

namespace moesim {

extern const Entry<Optimizer> adamw_optimizer;
extern const Entry<Optimizer> sgd_optimizer;
extern const Entry<Optimizer> adafactor_optimizer;
extern const Entry<Optimizer> muon_optimizer;

namespace {

constinit const Entry<Optimizer>* const members[] = {&adamw_optimizer, &sgd_optimizer, &adafactor_optimizer,
                                                     &muon_optimizer};

}  // namespace

Register<Optimizer> optimizers() { return members; }

}  // namespace moesim
