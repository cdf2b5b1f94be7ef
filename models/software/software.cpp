#include "models/software/software.hpp"

namespace moesim {

extern const Entry<Software> ideal_software;
extern const Entry<Software> hugging_face_software;
extern const Entry<Software> pytorch_software;
extern const Entry<Software> torchtitan_software;
extern const Entry<Software> megatron_core_software;
extern const Entry<Software> megatron_deepspeed_software;
extern const Entry<Software> deepseek_software;
extern const Entry<Software> xla_software;
extern const Entry<Software> file_software;

namespace {

constinit const Entry<Software>* const members[] = {
    &ideal_software,      &pytorch_software,       &hugging_face_software,
    &torchtitan_software, &megatron_core_software, &megatron_deepspeed_software,
    &deepseek_software,   &xla_software,           &file_software};

}  // namespace

Register<Software> softwares() { return members; }

}  // namespace moesim
