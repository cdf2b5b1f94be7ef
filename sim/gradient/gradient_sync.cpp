#include "sim/gradient/gradient_sync.hpp"

namespace moesim {

extern const Entry<GradientSync> all_reduce_gradient_sync;
extern const Entry<GradientSync> zero1_gradient_sync;
extern const Entry<GradientSync> zero2_gradient_sync;
extern const Entry<GradientSync> zero3_gradient_sync;
extern const Entry<GradientSync> fsdp_gradient_sync;
extern const Entry<GradientSync> ddp_gradient_sync;
extern const Entry<GradientSync> fsdp2_gradient_sync;
extern const Entry<GradientSync> parameter_server_gradient_sync;

namespace {

constinit const Entry<GradientSync>* const members[] = {
    &all_reduce_gradient_sync, &zero1_gradient_sync, &zero2_gradient_sync,
    &zero3_gradient_sync,      &fsdp_gradient_sync,  &parameter_server_gradient_sync,
    &ddp_gradient_sync,        &fsdp2_gradient_sync};

}  // namespace

Register<GradientSync> gradient_syncs() { return members; }

}  // namespace moesim
