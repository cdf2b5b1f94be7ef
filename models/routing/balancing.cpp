#include "models/routing/balancing.hpp"

namespace moesim {

extern const Entry<Balancing> no_balancing;
extern const Entry<Balancing> auxiliary_loss_balancing;
extern const Entry<Balancing> bias_balancing;

namespace {

constinit const Entry<Balancing>* const members[] = {&no_balancing, &auxiliary_loss_balancing,
                                                     &bias_balancing};

}  // namespace

Register<Balancing> balancings() { return members; }

}  // namespace moesim
