#include "models/software/software.hpp"

namespace moesim {

extern const Entry<Software> ideal_software;
extern const Entry<Software> hugging_face_software;

namespace {

constinit const Entry<Software>* const members[] = {&ideal_software, &hugging_face_software};

}  // namespace

Register<Software> softwares() { return members; }

}  // namespace moesim
