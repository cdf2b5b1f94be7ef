// Libraries that this program was built to use but that the machine may lack.
#pragma once

#include <string>

namespace measure {

/// Why there is none: the loader's words, or that the program was built without it. Empty where it is there.
std::string why_no_cudnn();
std::string why_no_nccl();

}  // namespace measure
