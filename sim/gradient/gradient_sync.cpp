#include "sim/gradient/gradient_sync.hpp"

namespace moesim {

extern const Entry<GradientSync> all_reduce_sync;
extern const Entry<GradientSync> zero1_sync;
extern const Entry<GradientSync> zero2_sync;
extern const Entry<GradientSync> zero3_sync;
extern const Entry<GradientSync> fsdp_sync;
extern const Entry<GradientSync> parameter_server_sync;

namespace {

constinit const Entry<GradientSync>* const members[] = {
    &all_reduce_sync, &zero1_sync, &zero2_sync, &zero3_sync, &fsdp_sync, &parameter_server_sync};

}  // namespace

Register<GradientSync> gradient_syncs() { return members; }

}  // namespace moesim
