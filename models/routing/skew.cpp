#include "models/routing/skew.hpp"

namespace moesim {

extern const Entry<Skew> no_skew;
extern const Entry<Skew> zipf_skew;
extern const Entry<Skew> dirichlet_skew;
extern const Entry<Skew> replay_skew;

namespace {

constinit const Entry<Skew>* const members[] = {&no_skew, &zipf_skew, &dirichlet_skew, &replay_skew};

}  // namespace

Register<Skew> skews() { return members; }

}  // namespace moesim
